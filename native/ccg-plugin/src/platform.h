/* What the portable part and mbedTLS need of Windows: memory that is wiped, time, random numbers. */
#ifndef SALLYPORT_PLATFORM_H
#define SALLYPORT_PLATFORM_H

#include <stddef.h>
#include <stdint.h>

void *plugin_calloc(size_t count, size_t size);
/* Wipes the whole block first: what was secret in it and what was not. */
void plugin_free(void *memory);
void plugin_wipe(void *memory, size_t size);

/* Milliseconds since the system started; runs on whatever is done to the clock. */
uint64_t plugin_ticks(void);

/* For mbedTLS: 0, or a failure. */
int plugin_random(void *unused, unsigned char *output, size_t length);

/* The library's set-up and end, once per loading of the DLL. */
void platform_attach(void);
void platform_detach(void);

#endif
