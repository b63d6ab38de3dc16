/*
 * The account provider's answer: one JSON object (RFC 8259) with the strings `username`, `password`
 * and `domainName`, decoded from UTF-8 to UTF-16 exactly as COM wants it.
 */
#ifndef SALLYPORT_CREDENTIALS_JSON_H
#define SALLYPORT_CREDENTIALS_JSON_H

#include "causes.h"
#include <stddef.h>
#include <stdint.h>

/* UTF-16 code units: a DNS name, UNLEN and PWLEN of lmcons.h. */
#define DOMAIN_NAME_MAX 255
#define USER_NAME_MAX 256
#define PASSWORD_MAX 256

/* Secret: whoever owns one wipes it. The lengths leave out the terminating NUL. */
struct credentials {
  uint16_t domain_name[DOMAIN_NAME_MAX + 1];
  uint16_t user_name[USER_NAME_MAX + 1];
  uint16_t password[PASSWORD_MAX + 1];
  size_t domain_name_length;
  size_t user_name_length;
  size_t password_length;
};

/*
 * cause_success only with three strings that are non-empty, well-formed Unicode without NUL, and
 * short enough. Names are compared exactly; other members are checked for well-formedness and
 * passed over. On failure the credentials may be half filled: wipe them all the same.
 */
enum cause parse_credentials(const uint8_t *text, size_t length, struct credentials *credentials);

#endif
