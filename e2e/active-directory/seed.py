"""Seeds a freshly provisioned Samba domain in one transaction: people in every account state, nested and circular
groups, and managed accounts. The people are those of test/fixtures/test-directory.ts."""
import os
import time

import ldb
from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

base, domain = os.environ["BASE"], os.environ["DNSDOM"]
parameters = LoadParm()
parameters.load(os.environ["CONF"])
db = SamDB(url=os.environ["SAM"], session_info=system_session(), lp=parameters)

# Lets pwdLastSet be written as it is.
BYPASS = ["local_oid:1.3.6.1.4.1.7165.4.3.12:0"]
LONG_AGO = "132223104000000000"
PEOPLE, GROUPS = f"OU=People,{base}", f"OU=Groups,{base}"


def sid_of(dn):
    entry = db.search(dn, ldb.SCOPE_BASE, attrs=["objectSid"])[0]
    return str(ndr_unpack(security.dom_sid, entry["objectSid"][0]))


def change(dn, values, controls=None):
    message = ldb.Message(ldb.Dn(db, dn))
    for name, value in values.items():
        listed = value if isinstance(value, list) else [value]
        message[name] = ldb.MessageElement(listed, ldb.FLAG_MOD_REPLACE, name)
    db.modify(message, controls=controls)


def person(account, password, cn=None, **further):
    dn = ldb.Dn(db, f"CN=x,{PEOPLE}")
    dn.set_component(0, "CN", cn or account)
    db.add({
        "dn": dn, "objectClass": "user", "sAMAccountName": account,
        "userPrincipalName": f"{account}@{domain}", "displayName": cn or account,
        "unicodePwd": ('"%s"' % password).encode("utf-16-le"), "userAccountControl": "512", **further,
    })
    return str(dn)


def group(cn, members=()):
    dn = f"CN={cn},{GROUPS}"
    entry = {"dn": dn, "objectClass": "group", "sAMAccountName": cn, "groupType": "-2147483646"}
    if members:
        entry["member"] = list(members)
    db.add(entry)
    return dn


def managed(name, readers, days):
    descriptor = security.descriptor.from_sddl(
        "O:BAD:" + "".join(f"(A;;0xf01ff;;;{sid})" for sid in readers), security.dom_sid(db.get_domain_sid()))
    db.add({
        "dn": f"CN={name},CN=Managed Service Accounts,{base}", "objectClass": "msDS-GroupManagedServiceAccount",
        "sAMAccountName": name + "$", "dNSHostName": f"{name}.{domain}", "userAccountControl": "4096",
        "msDS-ManagedPasswordInterval": str(days), "msDS-SupportedEncryptionTypes": "28",
        "msDS-GroupMSAMembership": ndr_pack(descriptor),
        "servicePrincipalName": [f"HTTP/{name}.{domain}", f"HTTP/{name}"],
    })


db.transaction_start()
for ou in (PEOPLE, GROUPS):
    db.add({"dn": ou, "objectClass": "organizationalUnit"})
# Locked after five wrong passwords, until an administrator unlocks.
change(base, {"lockoutThreshold": "5", "lockoutDuration": "-9223372036854775808",
              "lockOutObservationWindow": "-18000000000", "minPwdAge": "0", "pwdHistoryLength": "0"})
reader = person("ccg-impersonator", "Imp3rson@te!")
alice = person("alice", "Al1ce-Passw0rd", cn="Alice Example", mail=f"alice@{domain}")
bob = person("bob", "B0b-Passw0rd!", mail=f"bob@{domain}")
zoe = person("zoe", "Z0e-Pässwörd", cn="Zoë \"Z\" O'Brien, (R&D) *\\#1")
person("disabled1", "D1sabled-Pass!", userAccountControl="514")
locked = person("locked1", "L0cked-Passw0rd")
expired = person("expired1", "Exp1red-Passw0rd")
must_change = person("mustchange1", "MustCh4nge-Pass")
person("acctexp1", "AcctExp1-Pass!", accountExpires=LONG_AGO)
person("badhours1", "B4dHours-Pass!", logonHours=b"\0" * 21)
change(must_change, {"pwdLastSet": "0"})
inner = group("Inner", [alice, zoe])
middle = group("Middle", [inner, bob])
group("Outer", [middle])
circle = group("CircA", [bob])
change(circle, {"member": [bob, group("CircB", [circle])]})
readers = group("GMSAGroup", [reader])
managed("webapp01", [sid_of(readers)], days=30)
managed("webapp02", [sid_of(alice)], days=1)
many = os.environ.get("GROUPS_OF_BOB", "0")
for number in range(int(many)):
    group(f"Team {number}", [bob])
db.transaction_commit()
change(expired, {"pwdLastSet": LONG_AGO}, BYPASS)
change(locked, {"lockoutTime": str(int((time.time() + 11644473600) * 1e7)), "badPwdCount": "5"}, BYPASS + ["relax:0"])
