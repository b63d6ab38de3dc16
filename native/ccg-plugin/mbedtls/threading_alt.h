/* mbedTLS's mutex: a slim reader/writer lock, which needs no set-up and cannot fail. */
#ifndef SALLYPORT_THREADING_ALT_H
#define SALLYPORT_THREADING_ALT_H

typedef struct {
  void *lock; /* an SRWLOCK; a pointer, so that the library does not see windows.h */
} mbedtls_threading_mutex_t;

#endif
