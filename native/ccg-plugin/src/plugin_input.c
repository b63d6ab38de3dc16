/* Parses the two forms of a plugin input. */
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

static enum cause parse_name(const uint16_t *input, size_t length, struct account_reference *reference,
                             const char **detail) {
  size_t colon = length;
  size_t colons = 0;

  for (size_t i = 0; i < length; i++) {
    if (input[i] != ':') continue;
    if (colons == 0) colon = i;
    colons++;
  }
  if (colons != 1) {
    *detail = colons == 0 ? "it has no colon" : "it has more than one colon";
    return cause_input_form;
  }
  const char *wrong = copy_name(input, colon, 0, NAMESPACE_MAX, reference->directory_name);
  if (wrong) {
    *detail = wrong;
    return cause_input_namespace;
  }
  wrong = copy_name(input + colon + 1, length - colon - 1, 1, SECRET_NAME_MAX, reference->object_name);
  if (wrong) {
    *detail = wrong;
    return cause_input_name;
  }
  return cause_success;
}

/* A part of the input; `units` is NULL for one that has not been seen. */
struct part {
  const uint16_t *units;
  size_t length;
};

static size_t length_of(const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}

/* ASCII letters alone lose their case: no unit beyond them equals a letter. */
static uint16_t lower(uint16_t unit) { return unit >= 'A' && unit <= 'Z' ? (uint16_t)(unit + 32) : unit; }

static int begins_with(const struct part *part, const char *text) {
  size_t i = 0;
  while (i < part->length && text[i] && lower(part->units[i]) == lower((uint16_t)(unsigned char)text[i])) i++;
  return !text[i];
}

static int is_key(const struct part *key, const char *name) {
  return key->length == length_of(name) && begins_with(key, name);
}

/* 8-4-4-4-12 hexadecimal digits. */
static int is_guid(const struct part *id) {
  if (id->length != 36) return 0;
  for (size_t i = 0; i < 36; i++) {
    const uint16_t unit = lower(id->units[i]);
    if (i == 8 || i == 13 || i == 18 || i == 23 ? unit != '-' : !((unit >= '0' && unit <= '9') || (unit >= 'a' && unit <= 'f'))) {
      return 0;
    }
  }
  return 1;
}

/* Returns what is wrong, or NULL. RFC 9110 section 5.5 lets all that remains stand in a header. */
static const char *uri_fault(const struct part *uri) {
  static const char scheme[] = "https://";
  if (!begins_with(uri, scheme)) return "it does not begin with https://";
  if (uri->length == length_of(scheme)) return "it names no host";
  for (size_t i = 0; i < uri->length; i++) {
    const uint16_t unit = uri->units[i];
    if (unit <= ' ' || unit >= 0x7F) return "it has a character that is not printable ASCII";
    if (unit == '"' || unit == '\'' || unit == '\\') return "it has a quote or a backslash";
  }
  return NULL;
}

static char *append_text(char *to, const char *text) {
  while (*text) *to++ = *text++;
  return to;
}

static char *append_part(char *to, const struct part *part) {
  for (size_t i = 0; i < part->length; i++) *to++ = (char)part->units[i];
  return to;
}

/* Finds the two values among the pairs. Returns what is wrong, or NULL. */
static const char *read_pairs(const uint16_t *input, size_t length, struct part *id, struct part *uri) {
  for (size_t start = 0; start <= length;) {
    size_t end = start;
    size_t equals = length;
    for (; end < length && input[end] != ';'; end++) {
      if (input[end] == '=' && equals == length) equals = end;
    }
    /* The last semicolon may end the input. */
    if (end > start) {
      if (equals == length) return "a part of it has no equals sign";
      const struct part key = {input + start, equals - start};
      struct part *value = is_key(&key, "ObjectId") ? id : is_key(&key, "SecretUri") ? uri : NULL;
      if (value) {
        if (value->units) return "a key is there twice";
        value->units = input + equals + 1;
        value->length = end - equals - 1;
      }
    }
    start = end + 1;
  }
  if (!id->units || id->length == 0) return "it has no ObjectId";
  return !uri->units || uri->length == 0 ? "it has no SecretUri" : NULL;
}

static enum cause parse_key_vault(const uint16_t *input, size_t length, struct account_reference *reference,
                                  const char **detail) {
  struct part id = {NULL, 0};
  struct part uri = {NULL, 0};

  *detail = length > PLUGIN_INPUT_MAX ? "it is too long" : read_pairs(input, length, &id, &uri);
  if (*detail) return cause_input_key_vault;
  if (!is_guid(&id)) {
    *detail = "it is not 36 characters of hexadecimal digits and hyphens";
    return cause_input_object_id;
  }
  *detail = uri_fault(&uri);
  if (*detail) return cause_input_secret_uri;
  *append_text(reference->directory_name, KEY_VAULT_DIRECTORY) = 0;
  /* No longer than the input, which holds the same parts. */
  char *end = append_part(append_text(reference->object_name, "ObjectId="), &id);
  *append_part(append_text(end, ";SecretUri="), &uri) = 0;
  reference->is_key_vault = 1;
  return cause_success;
}

enum cause parse_plugin_input(const uint16_t *input, size_t length,
                              struct account_reference *reference, const char **detail) {
  size_t equals = 0;

  reference->is_key_vault = 0;
  *detail = "";
  while (equals < length && input[equals] != '=') equals++;
  const enum cause cause = length == 0       ? cause_input_empty
                           : equals < length ? parse_key_vault(input, length, reference, detail)
                                             : parse_name(input, length, reference, detail);
  if (cause != cause_success) {
    reference->directory_name[0] = 0;
    reference->object_name[0] = 0;
    return cause;
  }
  *detail = "";
  return cause;
}

size_t shown_object_length(const char *object_name) {
  size_t shown = 0;
  while (object_name[shown] && object_name[shown] != '?' && object_name[shown] != '#' && object_name[shown] != '%') shown++;
  for (size_t i = 0; object_name[i]; i++) {
    if (object_name[i] != '@') continue;
    for (shown = 0; object_name[shown] && object_name[shown] != ';';) shown++;
    break;
  }
  return shown;
}
