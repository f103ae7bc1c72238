/* Bytes as lower-case hexadecimal digits and back. Pure functions. */
#ifndef CATALOG_HEX_H
#define CATALOG_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes 2 * size digits and no terminator. */
void hex_write(const uint8_t *bytes, size_t size, char *out);
/* Reads 2 * size digits; false when one is none. */
bool hex_read(const char *digits, size_t size, uint8_t *out);

#endif
