/**
 * LDAP messages from the server's side: requests read, answers written (RFC 4511).
 * @module
 */
import {
  ber,
  berInteger,
  berTag,
  berToInteger,
  readBer,
  readBerSequence,
  type BerElement,
} from "../directory/ber.ts";
import { all, any, equals, not, present, type Filter } from "../directory/filter.ts";
import { operationTag, pagedResultsOid } from "../directory/message-frames.ts";

export type LdapRequest =
  | { readonly kind: "bind"; readonly id: number; readonly name: string; readonly password: string }
  | { readonly kind: "search"; readonly id: number; readonly search: RequestedSearch }
  | { readonly kind: "extended"; readonly id: number; readonly oid: string }
  | { readonly kind: "unbind"; readonly id: number }
  /** Anything a read-only directory does not do. `operation` is the tag of its answer. */
  | { readonly kind: "other"; readonly id: number; readonly operation: number };

export interface RequestedSearch {
  readonly base: string;
  readonly scope: "base" | "one" | "sub";
  readonly sizeLimit: number;
  /** `undefined`: a kind of filter that is not understood, which matches nothing (RFC 4511, 4.5.1.7). */
  readonly filter: Filter | undefined;
  readonly attributes: readonly string[];
  readonly page: { readonly size: number; readonly cookie: Buffer } | undefined;
}

/** Result codes that are used here (RFC 4511, appendix A). */
export const resultCode = {
  success: 0,
  operationsError: 1,
  protocolError: 2,
  sizeLimitExceeded: 4,
  referral: 10,
  noSuchObject: 32,
  invalidCredentials: 49,
  busy: 51,
  unavailable: 52,
  unwillingToPerform: 53,
} as const;

/** Reads one message; `undefined` when it is not LDAP. */
export function decodeRequest(bytes: Buffer): LdapRequest | undefined {
  const parts = readBerSequence(readBer(bytes, 0)?.content ?? Buffer.alloc(0));
  const [idElement, operation, controls] = parts ?? [];
  const id = idElement?.tag === berTag.integer ? berToInteger(idElement.content) : undefined;
  if (id === undefined || operation === undefined) return undefined;
  switch (operation.tag) {
    case operationTag.unbindRequest:
    case operationTag.abandonRequest:
      return { kind: "unbind", id };
    case operationTag.bindRequest:
      return decodeBind(id, readBerSequence(operation.content));
    case operationTag.extendedRequest: {
      const oid = readBerSequence(operation.content)?.[0]?.content.toString("latin1");
      return oid === undefined ? undefined : { kind: "extended", id, oid };
    }
    case operationTag.searchRequest:
      return decodeSearch(id, readBerSequence(operation.content), controls);
    default:
      return { kind: "other", id, operation: operation.tag + 1 };
  }
}

function decodeBind(id: number, parts: readonly BerElement[] | undefined): LdapRequest | undefined {
  const [version, name, authentication] = parts ?? [];
  if (version === undefined || name === undefined || authentication === undefined) return undefined;
  // Only simple binds (tag 0): another mechanism is answered like a wrong password.
  const password = authentication.tag === 0x80 ? authentication.content.toString("utf8") : "";
  return { kind: "bind", id, name: name.content.toString("utf8"), password };
}

function decodeSearch(
  id: number,
  parts: readonly BerElement[] | undefined,
  controls: BerElement | undefined,
): LdapRequest | undefined {
  const [base, scope, , sizeLimit, , , filter, attributes] = parts ?? [];
  if (base === undefined || scope === undefined || sizeLimit === undefined || filter === undefined)
    return undefined;
  return {
    kind: "search",
    id,
    search: {
      base: base.content.toString("utf8"),
      scope: (["base", "one", "sub"] as const)[scope.content[0] ?? 0] ?? "base",
      sizeLimit: berToInteger(sizeLimit.content) ?? 0,
      filter: decodeFilter(filter),
      attributes: (readBerSequence(attributes?.content ?? Buffer.alloc(0)) ?? []).map(({ content }) =>
        content.toString("utf8"),
      ),
      page: decodePage(controls),
    },
  };
}

function decodePage(controls: BerElement | undefined): RequestedSearch["page"] {
  for (const control of readBerSequence(controls?.content ?? Buffer.alloc(0)) ?? []) {
    const parts = readBerSequence(control.content);
    if (parts?.[0]?.content.toString("latin1") !== pagedResultsOid) continue;
    const [size, cookie] =
      readBerSequence(readBer(parts.at(-1)?.content ?? Buffer.alloc(0), 0)?.content ?? Buffer.alloc(0)) ?? [];
    return {
      size: berToInteger(size?.content ?? Buffer.alloc(0)) ?? 0,
      cookie: cookie?.content ?? Buffer.alloc(0),
    };
  }
  return undefined;
}

function decodeFilter(element: BerElement): Filter | undefined {
  const text = (content: Buffer | undefined): string => content?.toString("utf8") ?? "";
  const many = (): readonly Filter[] | undefined => {
    const filters = (readBerSequence(element.content) ?? []).map(decodeFilter);
    return filters.includes(undefined) ? undefined : (filters as readonly Filter[]);
  };
  switch (element.tag) {
    case 0xa0: {
      const filters = many();
      return filters && all(...filters);
    }
    case 0xa1: {
      const filters = many();
      return filters && any(...filters);
    }
    case 0xa2: {
      const inner = readBer(element.content, 0);
      const filter = inner === undefined ? undefined : decodeFilter(inner);
      return filter && not(filter);
    }
    case 0xa3: {
      const [attribute, value] = readBerSequence(element.content) ?? [];
      return attribute && value && equals(text(attribute.content), Buffer.from(value.content));
    }
    case 0x87:
      return present(text(element.content));
    case 0xa9: {
      const parts = readBerSequence(element.content) ?? [];
      const part = (tag: number): string => text(parts.find((one) => one.tag === tag)?.content);
      return { kind: "extensible", rule: part(0x81), attribute: part(0x82), value: part(0x83) };
    }
    default:
      return undefined;
  }
}

function message(id: number, operation: Buffer, controls?: Buffer): Buffer {
  return ber(
    berTag.sequence,
    berInteger(id),
    operation,
    ...(controls === undefined ? [] : [ber(0xa0, controls)]),
  );
}

function result(tag: number, code: number, diagnostic: string, ...further: readonly Buffer[]): Buffer {
  return ber(
    tag,
    berInteger(code, berTag.enumerated),
    ber(berTag.octetString),
    ber(berTag.octetString, diagnostic),
    ...further,
  );
}

export function bindResponse(id: number, code: number, diagnostic = ""): Buffer {
  return message(id, result(operationTag.bindResponse, code, diagnostic));
}

export function searchEntry(
  id: number,
  dn: string,
  attributes: readonly (readonly [string, readonly (string | Buffer)[]])[],
): Buffer {
  const list = attributes.map(([type, values]) =>
    ber(
      berTag.sequence,
      ber(berTag.octetString, type),
      ber(berTag.set, ...values.map((value) => ber(berTag.octetString, value))),
    ),
  );
  return message(
    id,
    ber(operationTag.searchEntry, ber(berTag.octetString, dn), ber(berTag.sequence, ...list)),
  );
}

export function searchReference(id: number, url: string): Buffer {
  return message(id, ber(operationTag.searchReference, ber(berTag.octetString, url)));
}

export function searchDone(
  id: number,
  code: number = resultCode.success,
  diagnostic = "",
  cookie?: Buffer,
): Buffer {
  const controls =
    cookie === undefined
      ? undefined
      : ber(
          berTag.sequence,
          ber(berTag.octetString, pagedResultsOid),
          ber(berTag.octetString, ber(berTag.sequence, berInteger(0), ber(berTag.octetString, cookie))),
        );
  return message(id, result(operationTag.searchDone, code, diagnostic), controls);
}

export function extendedResponse(id: number, code: number, diagnostic = "", value?: string): Buffer {
  return message(
    id,
    result(
      operationTag.extendedResponse,
      code,
      diagnostic,
      ...(value === undefined ? [] : [ber(0x8b, value)]),
    ),
  );
}

/** An answer to an operation that is not done. */
export function refusal(id: number, operation: number, diagnostic: string): Buffer {
  return message(id, result(operation, resultCode.unwillingToPerform, diagnostic));
}
