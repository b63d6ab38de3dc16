/*
 * One question to the account provider: GET /provider over mutual TLS on loopback, one deadline for
 * everything, nothing followed, nothing trusted but the account provider's own authority.
 */
#ifndef SALLYPORT_PROVIDER_REQUEST_H
#define SALLYPORT_PROVIDER_REQUEST_H

#include "causes.h"
#include "http_response.h"
#include "note.h"
#include "provider_keys.h"

/* Secret: whoever owns one wipes it. */
struct provider_answer {
  unsigned char bytes[RESPONSE_HEAD_MAX + RESPONSE_BODY_MAX];
  size_t body_start;
  size_t body_length;
};

/* cause_success with a whole body of status 200, or why not. `deadline` is in plugin_ticks(). */
enum cause request_credentials(uint16_t port, struct provider_keys *keys, const char *object_name, uint64_t deadline,
                               struct provider_answer *answer, struct note *note);

#endif
