/* port.txt: the account provider's port in decimal digits and nothing else. */
#ifndef SALLYPORT_PORT_FILE_H
#define SALLYPORT_PORT_FILE_H

#include "causes.h"
#include <stddef.h>
#include <stdint.h>

/* cause_success and a port from 1 to 65535, or cause_port_invalid and 0. */
enum cause parse_port(const uint8_t *text, size_t length, uint16_t *port);

#endif
