/*
 * The plugin input of a credential spec: `<namespace>:<secret name>`, or the input that Microsoft's Azure
 * Key Vault plugin takes, `ObjectId=<id>;SecretUri=<address>`. Checked so strictly that what comes out can
 * go into a path and an HTTP header as it is.
 */
#ifndef SALLYPORT_PLUGIN_INPUT_H
#define SALLYPORT_PLUGIN_INPUT_H

#include "causes.h"
#include <stddef.h>
#include <stdint.h>

#define NAMESPACE_MAX 63
#define SECRET_NAME_MAX 253
/* No valid input is longer; so neither is the value of the header `object`. */
#define PLUGIN_INPUT_MAX 2048

/* Whom to ask in place of a namespace's account provider; an underscore begins no namespace. */
#define KEY_VAULT_DIRECTORY "_azure-key-vault"

struct account_reference {
  /* The host directory's name: the namespace, or KEY_VAULT_DIRECTORY. */
  char directory_name[NAMESPACE_MAX + 1];
  /* The header `object`: the secret's name, or `ObjectId=<id>;SecretUri=<address>`, in that order and spelling. */
  char object_name[PLUGIN_INPUT_MAX + 1];
  int is_key_vault;
};

/*
 * Reads `length` UTF-16 code units. An input with an equals sign is for Key Vault; a name has none.
 *
 * A name: one colon; the namespace is an RFC 1123 label, the name an RFC 1123 subdomain as Kubernetes checks
 * them. Key Vault: pairs of key and value between semicolons, in any order, the keys compared without case;
 * both keys once, their values not empty, nothing trimmed; pairs of other keys are passed over. The id is a
 * GUID without braces, the address printable ASCII that begins with `https://` and is without quote,
 * backslash and blank: what it points to is for the account provider to judge.
 *
 * On success (cause_success) `reference` is filled, ASCII and NUL-terminated. On failure it is left empty and
 * `*detail` says in a few fixed words what is wrong, without a character of the input, which may hold another
 * plugin's password.
 */
enum cause parse_plugin_input(const uint16_t *input, size_t length,
                              struct account_reference *reference, const char **detail);

/*
 * How many characters of a Key Vault object may be shown in the event log: the address up to a query or fragment,
 * or to a per cent sign, which Event Viewer would take for an insertion; and none of one that names a user, which
 * may come with a password.
 */
size_t shown_object_length(const char *object_name);

#endif
