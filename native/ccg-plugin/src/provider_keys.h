/* The account provider's files, parsed: whom to trust, and who we are. */
#ifndef SALLYPORT_PROVIDER_KEYS_H
#define SALLYPORT_PROVIDER_KEYS_H

#include "causes.h"
#include "note.h"
#include "provider_files.h"

#include "mbedtls/pk.h"
#include "mbedtls/x509_crt.h"

struct provider_keys {
  mbedtls_x509_crt authority;
  mbedtls_x509_crt certificate;
  mbedtls_pk_context key;
};

/*
 * Parses authority, certificate and key, and checks that the latter two belong together.
 * cause_key_mismatch may only mean that one of the two files had not been replaced yet. Call
 * release_provider_keys whatever comes back.
 */
enum cause parse_provider_keys(const struct provider_files *files, struct provider_keys *keys, struct note *note);

void release_provider_keys(struct provider_keys *keys);

#endif
