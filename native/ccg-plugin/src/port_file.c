/* Parses port.txt. */
#include "port_file.h"

enum cause parse_port(const uint8_t *text, size_t length, uint16_t *port) {
  uint32_t value = 0;

  *port = 0;
  if (length == 0 || length > 5 || text[0] == '0') return cause_port_invalid;
  for (size_t i = 0; i < length; i++) {
    if (text[i] < '0' || text[i] > '9') return cause_port_invalid;
    value = value * 10 + (uint32_t)(text[i] - '0');
  }
  if (value > 65535) return cause_port_invalid;
  *port = (uint16_t)value;
  return cause_success;
}
