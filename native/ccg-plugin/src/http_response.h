/*
 * The head of an HTTP/1.1 answer (RFC 9112), as far as the plugin accepts one: a status line, header
 * lines ended by CRLF, one Content-Length and no transfer coding.
 */
#ifndef SALLYPORT_HTTP_RESPONSE_H
#define SALLYPORT_HTTP_RESPONSE_H

#include "causes.h"
#include <stddef.h>
#include <stdint.h>

#define RESPONSE_HEAD_MAX 8192u
#define RESPONSE_BODY_MAX 65536u

struct response_head {
  int complete;        /* the empty line was seen; the other members count only then */
  int status;          /* 100 to 599 */
  size_t head_length;  /* bytes up to and with the empty line */
  size_t body_length;  /* from Content-Length, at most RESPONSE_BODY_MAX; only with status 200 */
};

/*
 * Looks at what has arrived so far. cause_success with `complete` unset asks for more bytes. A
 * status other than 200 is answered with its cause whatever else the head says.
 */
enum cause parse_response_head(const uint8_t *bytes, size_t length, struct response_head *head);

#endif
