/*
 * libFuzzer's entry (AFL++'s afl-clang-fast takes the same one) for the parser that TARGET names.
 * Besides what the sanitizers see, each target holds its parser to what it promises.
 */
#include "../src/credentials_json.h"
#include "../src/http_response.h"
#include "../src/name_constraints.h"
#include "../src/plugin_input.h"
#include "../src/port_file.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition) \
  do {                     \
    if (!(condition)) abort(); \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#if TARGET == 1 /* credentials-json */
/* Whatever is accepted is three non-empty strings of whole Unicode characters without NUL. */
static void require_text(const uint16_t *units, size_t length, size_t maximum) {
  REQUIRE(length > 0 && length <= maximum && units[length] == 0);
  for (size_t i = 0; i < length; i++) {
    REQUIRE(units[i] != 0);
    if (units[i] >= 0xD800 && units[i] <= 0xDBFF) {
      REQUIRE(i + 1 < length && units[i + 1] >= 0xDC00 && units[i + 1] <= 0xDFFF);
      i++;
    } else REQUIRE(units[i] < 0xDC00 || units[i] > 0xDFFF);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct credentials credentials;
  if (parse_credentials(data, size, &credentials) != cause_success) return 0;
  require_text(credentials.user_name, credentials.user_name_length, USER_NAME_MAX);
  require_text(credentials.password, credentials.password_length, PASSWORD_MAX);
  require_text(credentials.domain_name, credentials.domain_name_length, DOMAIN_NAME_MAX);
  return 0;
}
#elif TARGET == 2 /* plugin-input: the bytes are UTF-16 units */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const size_t length = size / 2;
  uint16_t *units = malloc(length ? length * 2 : 1);
  struct account_reference reference;
  const char *detail;
  REQUIRE(units);
  memcpy(units, data, length * 2);
  const enum cause cause = parse_plugin_input(units, length, &reference, &detail);
  if (cause != cause_success) REQUIRE(!reference.directory_name[0] && !reference.object_name[0] && !reference.is_key_vault);
  else if (reference.is_key_vault) {
    /* What was accepted is two values in fixed places, and can't leave a header line; read again it is the same. */
    const size_t second = strlen(reference.object_name);
    struct account_reference again;
    uint16_t object[PLUGIN_INPUT_MAX];
    REQUIRE(strcmp(reference.directory_name, KEY_VAULT_DIRECTORY) == 0 && second <= length && second <= PLUGIN_INPUT_MAX);
    REQUIRE(memcmp(reference.object_name, "ObjectId=", 9) == 0 && memcmp(reference.object_name + 45, ";SecretUri=", 11) == 0);
    REQUIRE(shown_object_length(reference.object_name) >= 45 && shown_object_length(reference.object_name) <= second);
    for (size_t i = 0; i < second; i++) {
      REQUIRE(reference.object_name[i] > ' ' && reference.object_name[i] < 0x7F && !strchr("\"'\\", reference.object_name[i]));
      object[i] = (uint16_t)reference.object_name[i];
    }
    REQUIRE(parse_plugin_input(object, second, &again, &detail) == cause_success);
    REQUIRE(strcmp(reference.object_name, again.object_name) == 0);
  } else {
    /* What was accepted is the input again, and can't leave a directory or a header line. */
    const size_t first = strlen(reference.directory_name);
    const size_t second = strlen(reference.object_name);
    REQUIRE(first > 0 && first <= NAMESPACE_MAX && second > 0 && second <= SECRET_NAME_MAX);
    REQUIRE(first + 1 + second == length && units[first] == ':');
    for (size_t i = 0; i < first; i++) REQUIRE(units[i] == (uint16_t)reference.directory_name[i]);
    for (size_t i = 0; i < second; i++) REQUIRE(units[first + 1 + i] == (uint16_t)reference.object_name[i]);
    REQUIRE(!strpbrk(reference.directory_name, "./\\:\r\n ") && !strpbrk(reference.object_name, "/\\:\r\n "));
    REQUIRE(!strstr(reference.object_name, ".."));
  }
  free(units);
  return 0;
}
#elif TARGET == 3 /* http-response */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct response_head head;
  const enum cause cause = parse_response_head(data, size, &head);
  if (cause != cause_success || !head.complete) return 0;
  REQUIRE(head.status == 200 && head.head_length <= size && head.head_length <= RESPONSE_HEAD_MAX);
  REQUIRE(head.body_length <= RESPONSE_BODY_MAX);
  REQUIRE(memcmp(data + head.head_length - 4, "\r\n\r\n", 4) == 0);
  return 0;
}
#elif TARGET == 4 /* port-file */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint16_t port;
  const enum cause cause = parse_port(data, size, &port);
  REQUIRE((cause == cause_success) == (port != 0));
  return 0;
}
#elif TARGET == 5 /* name-constraints */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const int permits = name_constraints_permit_localhost(data, size);
  REQUIRE(permits == 0 || (permits == 1 && size > 2 && data[0] == 0x30));
  return 0;
}
#endif
