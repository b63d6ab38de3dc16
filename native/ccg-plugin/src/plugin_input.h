/*
 * The plugin input of a credential spec, `<namespace>:<secret name>`, checked so strictly that both
 * halves can go into a path and an HTTP header as they are.
 */
#ifndef SALLYPORT_PLUGIN_INPUT_H
#define SALLYPORT_PLUGIN_INPUT_H

#include "causes.h"
#include <stddef.h>
#include <stdint.h>

#define NAMESPACE_MAX 63
#define SECRET_NAME_MAX 253

struct account_reference {
  char namespace_name[NAMESPACE_MAX + 1];
  char secret_name[SECRET_NAME_MAX + 1];
};

/*
 * Reads `length` UTF-16 code units. On success (cause_success) both halves are filled, ASCII and
 * NUL-terminated; the namespace is an RFC 1123 label, the name an RFC 1123 subdomain as Kubernetes
 * checks them. On failure `reference` is left empty and `*detail` says in a few fixed words what is
 * wrong, without a character of the input, which may hold another plugin's password.
 */
enum cause parse_plugin_input(const uint16_t *input, size_t length,
                              struct account_reference *reference, const char **detail);

#endif
