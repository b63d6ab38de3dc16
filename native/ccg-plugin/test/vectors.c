/*
 * Runs the parsers over test/vectors, which the TypeScript tests read as well.
 *
 *   vectors KIND FILE     KIND: plugin-input, port-file, http-response, credentials-json, name-constraints
 *
 * Each input lies at the end of a block of exactly its size, so that the sanitizers see a byte read too many.
 */
#include "../src/credentials_json.h"
#include "../src/http_response.h"
#include "../src/name_constraints.h"
#include "../src/plugin_input.h"
#include "../src/port_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_SIZE 65536
#define MEMBERS_MAX 16

/* A member of a vector: a string in UTF-16, or a number. */
struct member {
  char name[32];
  uint16_t *units;
  size_t length;
  long number;
};

struct vector {
  struct member members[MEMBERS_MAX];
  int count;
};

static const char *current = "";

static void die(const char *why) {
  fprintf(stderr, "%s: %s\n", current, why);
  exit(2);
}

/* Vectors are flat objects of strings and whole numbers; this reads just that, and trusts its input. */
static const char *read_text(const char *at, uint16_t *units, size_t *length) {
  *length = 0;
  if (*at++ != '"') die("a string was expected");
  while (*at != '"') {
    unsigned code = (unsigned char)*at++;
    if (code == '\\') {
      static const char escapes[] = "\"\\/bfnrt";
      static const char meanings[] = "\"\\/\b\f\n\r\t";
      const char *found = strchr(escapes, *at);
      if (*at == 'u') {
        char digits[5] = {at[1], at[2], at[3], at[4], 0};
        code = (unsigned)strtoul(digits, NULL, 16);
        at += 5;
      } else if (found && *at) {
        code = (unsigned char)meanings[found - escapes];
        at++;
      } else die("an escape was not understood");
    } else if (code >= 0x80) die("vectors are ASCII");
    units[(*length)++] = (uint16_t)code;
  }
  return at + 1;
}

static void read_vector(const char *line, struct vector *vector) {
  uint16_t *units = malloc(LINE_MAX_SIZE * sizeof *units);
  const char *at = line + 1;
  vector->count = 0;
  if (!units || *line != '{') die("an object was expected");
  while (*at != '}') {
    struct member *member = &vector->members[vector->count++];
    size_t length;
    if (*at == ',') at++;
    at = read_text(at, units, &length);
    for (size_t i = 0; i < length; i++) member->name[i] = (char)units[i];
    member->name[length] = 0;
    if (*at++ != ':') die("a colon was expected");
    member->units = NULL;
    member->length = 0;
    member->number = 0;
    if (*at == '"') {
      at = read_text(at, units, &length);
      member->units = malloc(length * sizeof *units + 1);
      if (!member->units) die("no memory");
      memcpy(member->units, units, length * sizeof *units);
      member->length = length;
    } else {
      char *end;
      member->number = strtol(at, &end, 10);
      at = end;
    }
  }
  free(units);
}

static void free_vector(struct vector *vector) {
  for (int i = 0; i < vector->count; i++) free(vector->members[i].units);
}

static const struct member *find(const struct vector *vector, const char *name) {
  for (int i = 0; i < vector->count; i++) {
    if (strcmp(vector->members[i].name, name) == 0) return &vector->members[i];
  }
  return NULL;
}

/* The input as bytes: `text` in UTF-8, or `hex`; in a block of exactly that size. */
static uint8_t *input_bytes(const struct vector *vector, size_t *length) {
  const struct member *text = find(vector, "text");
  const struct member *hex = find(vector, "hex");
  const struct member *from = text ? text : hex;
  if (!from) die("neither text nor hex");
  uint8_t *bytes = malloc(from->length * 3 + 1);
  if (!bytes) die("no memory");
  *length = 0;
  for (size_t i = 0; i < from->length; i++) {
    uint32_t code = from->units[i];
    if (hex) {
      char digits[3] = {(char)from->units[i], (char)from->units[i + 1], 0};
      bytes[(*length)++] = (uint8_t)strtoul(digits, NULL, 16);
      i++;
    } else if (code < 0x80) bytes[(*length)++] = (uint8_t)code;
    else if (code < 0x800) {
      bytes[(*length)++] = (uint8_t)(0xC0 | code >> 6);
      bytes[(*length)++] = (uint8_t)(0x80 | (code & 0x3F));
    } else if (code >= 0xD800 && code <= 0xDBFF && i + 1 < from->length) {
      code = 0x10000 + ((code - 0xD800) << 10) + (uint32_t)(from->units[++i] - 0xDC00);
      bytes[(*length)++] = (uint8_t)(0xF0 | code >> 18);
      bytes[(*length)++] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
      bytes[(*length)++] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
      bytes[(*length)++] = (uint8_t)(0x80 | (code & 0x3F));
    } else {
      bytes[(*length)++] = (uint8_t)(0xE0 | code >> 12);
      bytes[(*length)++] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
      bytes[(*length)++] = (uint8_t)(0x80 | (code & 0x3F));
    }
  }
  uint8_t *exact = malloc(*length ? *length : 1);
  if (!exact) die("no memory");
  memcpy(exact, bytes, *length);
  free(bytes);
  return exact;
}

static const char *cause_name(enum cause cause) {
  switch (cause) {
#define CAUSE(name, number, sentence, remedy) \
  case cause_##name:                          \
    return #name;
#include "../src/causes.def"
#undef CAUSE
  }
  return "?";
}

static int is_text(const struct vector *vector, const char *name, const uint16_t *units, size_t length) {
  const struct member *expected = find(vector, name);
  return expected && expected->length == length && memcmp(expected->units, units, length * sizeof *units) == 0;
}

static int is_ascii(const struct vector *vector, const char *name, const char *text) {
  const struct member *expected = find(vector, name);
  if (!expected || expected->length != strlen(text)) return 0;
  for (size_t i = 0; i < expected->length; i++) {
    if (expected->units[i] != (uint16_t)text[i]) return 0;
  }
  return 1;
}

static long number_of(const struct vector *vector, const char *name) {
  const struct member *member = find(vector, name);
  return member ? member->number : 0;
}

static int is_cause(const struct vector *vector, enum cause cause) {
  return is_ascii(vector, "cause", cause_name(cause));
}

static int plugin_input(const struct vector *vector) {
  const struct member *input = find(vector, "input");
  struct account_reference reference;
  const char *detail;
  uint16_t *exact = malloc(input->length ? input->length * sizeof *exact : 1);
  memcpy(exact, input->units, input->length * sizeof *exact);
  const enum cause cause = parse_plugin_input(exact, input->length, &reference, &detail);
  free(exact);
  if (!is_cause(vector, cause)) return 0;
  if (cause != cause_success) return reference.directory_name[0] == 0 && reference.object_name[0] == 0;
  if (reference.is_key_vault) {
    char shown[PLUGIN_INPUT_MAX + 1];
    const size_t length = shown_object_length(reference.object_name);
    memcpy(shown, reference.object_name, length);
    shown[length] = 0;
    return strcmp(reference.directory_name, KEY_VAULT_DIRECTORY) == 0 && is_ascii(vector, "keyVault", reference.object_name) &&
           is_ascii(vector, "shown", shown);
  }
  return is_ascii(vector, "namespace", reference.directory_name) && is_ascii(vector, "secret", reference.object_name);
}

static int port_file(const struct vector *vector) {
  size_t length;
  uint16_t port;
  uint8_t *bytes = input_bytes(vector, &length);
  const enum cause cause = parse_port(bytes, length, &port);
  free(bytes);
  return is_cause(vector, cause) && port == number_of(vector, "port");
}

static int http_response(const struct vector *vector) {
  struct response_head head;
  size_t length;
  uint8_t *bytes = input_bytes(vector, &length);
  const enum cause cause = parse_response_head(bytes, length, &head);
  /* Whatever arrives first must never be judged otherwise than the whole, except as unfinished. */
  int steady = 1;
  for (size_t i = 0; i < length; i++) {
    struct response_head part;
    uint8_t *exact = malloc(i + 1);
    memcpy(exact, bytes, i);
    const enum cause early = parse_response_head(exact, i, &part);
    free(exact);
    if (part.complete ? early != cause : (early != cause_success && early != cause)) steady = 0;
  }
  free(bytes);
  if (!steady || !is_cause(vector, cause)) return 0;
  if (cause != cause_success) return 1;
  return head.complete == number_of(vector, "complete") &&
         (!head.complete || (head.status == number_of(vector, "status") &&
                             (long)head.body_length == number_of(vector, "bodyLength")));
}

static int credentials_json(const struct vector *vector) {
  struct credentials credentials;
  size_t length;
  uint8_t *bytes = input_bytes(vector, &length);
  const enum cause cause = parse_credentials(bytes, length, &credentials);
  free(bytes);
  if (!is_cause(vector, cause)) return 0;
  if (cause != cause_success) return 1;
  return is_text(vector, "username", credentials.user_name, credentials.user_name_length) &&
         is_text(vector, "password", credentials.password, credentials.password_length) &&
         is_text(vector, "domainName", credentials.domain_name, credentials.domain_name_length) &&
         credentials.password[credentials.password_length] == 0;
}

static int name_constraints(const struct vector *vector) {
  size_t length;
  uint8_t *bytes = input_bytes(vector, &length);
  const int permits = name_constraints_permit_localhost(bytes, length);
  free(bytes);
  return permits == number_of(vector, "permits");
}

int main(int count, char **arguments) {
  static const struct {
    const char *kind;
    int (*holds)(const struct vector *vector);
  } kinds[] = {{"plugin-input", plugin_input},
               {"port-file", port_file},
               {"http-response", http_response},
               {"credentials-json", credentials_json},
               {"name-constraints", name_constraints}};
  static char line[LINE_MAX_SIZE];
  int passed = 0;
  int failed = 0;
  if (count != 3) return 2;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (strcmp(kinds[i].kind, arguments[1]) != 0) continue;
    FILE *file = fopen(arguments[2], "r");
    if (!file) die(arguments[2]);
    while (fgets(line, sizeof line, file)) {
      struct vector vector;
      current = line;
      read_vector(line, &vector);
      if (kinds[i].holds(&vector)) passed++;
      else {
        failed++;
        printf("FAILED %s: %s", arguments[1], line);
      }
      free_vector(&vector);
    }
    fclose(file);
    printf("%-17s %d passed, %d failed\n", arguments[1], passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
  }
  return 2;
}
