/*
 * The name constraints extension of a certificate (RFC 5280, 4.2.1.10), which mbedTLS does not know.
 * The account provider's authority carries it, critical, and limits itself to `localhost`.
 */
#ifndef SALLYPORT_NAME_CONSTRAINTS_H
#define SALLYPORT_NAME_CONSTRAINTS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Whether the extension's value (DER, the inside of the OCTET STRING) is well-formed and lets the
 * authority issue for the DNS name `localhost`. Other kinds of names in it don't concern us.
 */
int name_constraints_permit_localhost(const uint8_t *der, size_t length);

#endif
