import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { parseBindDiagnostic, provesPassword, type BindRefusal } from "./bind-diagnostic.ts";

const windows = (code: string): string =>
  `80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data ${code}, v4563\0`;
const samba = (code: string): string =>
  `80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data ${code}, v1db1`;

const codes: readonly (readonly [string, BindRefusal])[] = [
  ["525", "unknown-account"],
  ["52e", "wrong-password"],
  ["52E", "wrong-password"],
  ["530", "logon-hours"],
  ["531", "workstation-restriction"],
  ["532", "password-expired"],
  ["533", "account-disabled"],
  ["568", "too-many-groups"],
  ["569", "logon-type-not-granted"],
  ["701", "account-expired"],
  ["773", "must-change-password"],
  ["775", "locked-out"],
  ["57", "unrecognised"],
];
for (const [code, refusal] of codes) {
  test(`data ${code} means ${refusal}, from Windows and from Samba`, () => {
    assert.equal(parseBindDiagnostic(windows(code)).refusal, refusal);
    assert.equal(parseBindDiagnostic(samba(code)).refusal, refusal);
  });
}

test("bad channel bindings are not taken for a wrong password", () => {
  const message = "80090346: LdapErr: DSID-0C0906B0, comment: AcceptSecurityContext error, data 52e, v4563";

  assert.deepEqual(parseBindDiagnostic(message), { refusal: "channel-binding", dataCode: "52e" });
});

test("a diagnostic that cannot be read is no wrong password either", () => {
  for (const message of ["", "Invalid Credentials", "data", "data zz"]) {
    assert.deepEqual(parseBindDiagnostic(message), { refusal: "unrecognised" });
  }
  fc.assert(fc.property(fc.string(), (message) => void parseBindDiagnostic(message)));
});

test("only expiry and a forced change prove the password", () => {
  const told = codes.map(([, refusal]) => refusal).filter(provesPassword);

  assert.deepEqual(told, ["password-expired", "must-change-password"]);
});
