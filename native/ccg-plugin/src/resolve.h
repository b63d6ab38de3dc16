/* From a plugin input to credentials. */
#ifndef SALLYPORT_RESOLVE_H
#define SALLYPORT_RESOLVE_H

#include "causes.h"
#include "credentials_json.h"
#include "note.h"

/*
 * The seam between COM and the sources of credentials: one function, which decides by the form of
 * the input whom to ask: the account provider of a namespace, or the one that answers for Azure Key
 * Vault. Both are asked in the same way.
 *
 * `length` is in UTF-16 code units. Credentials count only with cause_success; wipe them always.
 * `timeout` is in milliseconds, for everything together. `note` is filled for the event log.
 */
enum cause resolve_credentials(const uint16_t *input, size_t length, uint32_t timeout, struct credentials *credentials,
                               struct note *note);

#endif
