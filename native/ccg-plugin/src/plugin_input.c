/* Parses `<namespace>:<secret name>`. */
#include "plugin_input.h"

static int is_alphanumeric(uint16_t unit) {
  return (unit >= 'a' && unit <= 'z') || (unit >= '0' && unit <= '9');
}

/*
 * Copies a name of lower-case letters, digits and hyphens whose parts begin and end with a letter or
 * digit; parts are separated by dots where `dots` allows them. Returns what is wrong, or NULL.
 */
static const char *copy_name(const uint16_t *text, size_t length, int dots, size_t maximum,
                             char *name) {
  if (length == 0) return "it is empty";
  if (length > maximum) return "it is too long";
  for (size_t i = 0; i < length; i++) {
    const int dot = dots && text[i] == '.';
    if (!is_alphanumeric(text[i]) && text[i] != '-' && !dot) return "it has a character outside a-z, 0-9 and -";
    const int first = i == 0 || (dots && text[i - 1] == '.');
    const int last = i + 1 == length || (dots && text[i + 1] == '.');
    if ((first || last) && !is_alphanumeric(text[i])) return "a part begins or ends with something else than a letter or digit";
    name[i] = (char)text[i];
  }
  name[length] = 0;
  return NULL;
}

enum cause parse_plugin_input(const uint16_t *input, size_t length,
                              struct account_reference *reference, const char **detail) {
  struct account_reference parsed;
  size_t colon = length;
  size_t colons = 0;

  reference->namespace_name[0] = 0;
  reference->secret_name[0] = 0;
  *detail = "";
  if (length == 0) return cause_input_empty;
  for (size_t i = 0; i < length; i++) {
    if (input[i] != ':') continue;
    if (colons == 0) colon = i;
    colons++;
  }
  if (colons != 1) {
    *detail = colons == 0 ? "it has no colon" : "it has more than one colon";
    return cause_input_form;
  }

  const char *wrong = copy_name(input, colon, 0, NAMESPACE_MAX, parsed.namespace_name);
  if (wrong) {
    *detail = wrong;
    return cause_input_namespace;
  }
  wrong = copy_name(input + colon + 1, length - colon - 1, 1, SECRET_NAME_MAX, parsed.secret_name);
  if (wrong) {
    *detail = wrong;
    return cause_input_name;
  }
  *reference = parsed;
  return cause_success;
}
