/* Parses the account provider's certificates and key with mbedTLS. */
/* The point of an EC key is only to be had from the library's own structure. */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS
#include "provider_keys.h"
#include "name_constraints.h"
#include "platform.h"

#include <string.h>

#include "mbedtls/asn1.h"
#include "mbedtls/error.h"
#include "mbedtls/pem.h"

/* id-ce-nameConstraints, 2.5.29.30 */
static const unsigned char name_constraints_oid[] = {0x55, 0x1D, 0x1E};

/*
 * mbedTLS asks about each extension it does not know. The account provider's authority carries a
 * critical name constraint; that it permits localhost, the only name we ask for, is all it can tell
 * us. Every other unknown critical extension is refused, as RFC 5280 wants.
 */
static int unknown_extension(void *context, mbedtls_x509_crt const *certificate, mbedtls_x509_buf const *oid,
                             int critical, const unsigned char *value, const unsigned char *end) {
  (void)context;
  (void)certificate;
  if (oid->len == sizeof name_constraints_oid && memcmp(oid->p, name_constraints_oid, oid->len) == 0) {
    if (name_constraints_permit_localhost(value, (size_t)(end - value))) return 0;
    return MBEDTLS_ERR_X509_INVALID_EXTENSIONS;
  }
  return critical ? MBEDTLS_ERR_X509_FEATURE_UNAVAILABLE : 0;
}

/*
 * The linker puts this in place of mbedtls_x509_crt_parse_der (--wrap), so that a server which sends
 * the authority's certificate along with its own, as Node's does, is understood as well.
 */
int __wrap_mbedtls_x509_crt_parse_der(mbedtls_x509_crt *chain, const unsigned char *der, size_t length);
int __wrap_mbedtls_x509_crt_parse_der(mbedtls_x509_crt *chain, const unsigned char *der, size_t length) {
  return mbedtls_x509_crt_parse_der_with_ext_cb(chain, der, length, 1, unknown_extension, NULL);
}

/* Every certificate of a PEM text, one or more (two authorities while they roll over). 0 or mbedTLS's error. */
static int parse_certificates(const struct file_text *text, mbedtls_x509_crt *chain) {
  const unsigned char *at = text->bytes;
  int count = 0;

  if (strlen((const char *)text->bytes) + 1 != text->length) return MBEDTLS_ERR_PEM_INVALID_DATA;
  for (;;) {
    mbedtls_pem_context pem;
    size_t used = 0;
    mbedtls_pem_init(&pem);
    int error = mbedtls_pem_read_buffer(&pem, "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", at, NULL, 0,
                                        &used);
    if (error == MBEDTLS_ERR_PEM_NO_HEADER_FOOTER_PRESENT && count > 0) {
      mbedtls_pem_free(&pem);
      return 0;
    }
    if (error == 0) {
      size_t length = 0;
      const unsigned char *der = mbedtls_pem_get_buffer(&pem, &length);
      error = mbedtls_x509_crt_parse_der_with_ext_cb(chain, der, length, 1, unknown_extension, NULL);
    }
    mbedtls_pem_free(&pem);
    if (error != 0) return error;
    at += used;
    count++;
  }
}

static enum cause note_error(struct note *note, int error, enum cause cause) {
  if (error == MBEDTLS_ERR_X509_ALLOC_FAILED || error == MBEDTLS_ERR_PEM_ALLOC_FAILED ||
      error == MBEDTLS_ERR_PK_ALLOC_FAILED || error == MBEDTLS_ERR_ASN1_ALLOC_FAILED) {
    return cause_out_of_memory;
  }
  note_text(note, "mbedTLS error -");
  note_hex(note, (uint32_t)-error);
  return cause;
}

/*
 * Whether the key is the certificate's. mbedtls_pk_check_pair would multiply the private number of an EC
 * key with the generator again, a seventh of a whole call; parsing has left the public point in the key,
 * from the same file or by that very multiplication, so the two points are compared.
 */
static int belong_together(const mbedtls_pk_context *public_key, const mbedtls_pk_context *key) {
  if (mbedtls_pk_get_type(public_key) != mbedtls_pk_get_type(key)) return 0;
  if (mbedtls_pk_get_type(key) != MBEDTLS_PK_ECKEY) return mbedtls_pk_check_pair(public_key, key, plugin_random, NULL) == 0;
  const mbedtls_ecp_keypair *left = mbedtls_pk_ec(*public_key);
  const mbedtls_ecp_keypair *right = mbedtls_pk_ec(*key);
  return left->grp.id == right->grp.id && mbedtls_ecp_point_cmp(&left->Q, &right->Q) == 0;
}

enum cause parse_provider_keys(const struct provider_files *files, struct provider_keys *keys, struct note *note) {
  mbedtls_x509_crt_init(&keys->authority);
  mbedtls_x509_crt_init(&keys->certificate);
  mbedtls_pk_init(&keys->key);

  int error = parse_certificates(&files->authority, &keys->authority);
  if (error != 0) return note_error(note, error, cause_ca_invalid);
  error = parse_certificates(&files->certificate, &keys->certificate);
  if (error != 0) return note_error(note, error, cause_certificate_invalid);
  error = mbedtls_pk_parse_key(&keys->key, files->key.bytes, files->key.length, NULL, 0, plugin_random, NULL);
  if (error != 0) return note_error(note, error, cause_key_invalid);
  return belong_together(&keys->certificate.pk, &keys->key) ? cause_success : cause_key_mismatch;
}

void release_provider_keys(struct provider_keys *keys) {
  mbedtls_x509_crt_free(&keys->authority);
  mbedtls_x509_crt_free(&keys->certificate);
  mbedtls_pk_free(&keys->key);
}
