/* Numbers as the wire has them, at any address. Compilers make one instruction of each. */
#ifndef WIRE_LITTLE_ENDIAN_H
#define WIRE_LITTLE_ENDIAN_H

#include <stdint.h>

static inline void store_le16(uint8_t *to, uint16_t value)
{
	to[0] = (uint8_t)value;
	to[1] = (uint8_t)(value >> 8);
}

static inline void store_le32(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t)value;
	to[1] = (uint8_t)(value >> 8);
	to[2] = (uint8_t)(value >> 16);
	to[3] = (uint8_t)(value >> 24);
}

static inline void store_le64(uint8_t *to, uint64_t value)
{
	to[0] = (uint8_t)value;
	to[1] = (uint8_t)(value >> 8);
	to[2] = (uint8_t)(value >> 16);
	to[3] = (uint8_t)(value >> 24);
	to[4] = (uint8_t)(value >> 32);
	to[5] = (uint8_t)(value >> 40);
	to[6] = (uint8_t)(value >> 48);
	to[7] = (uint8_t)(value >> 56);
}

static inline uint16_t load_le16(const uint8_t *from)
{
	return (uint16_t)(from[0] | from[1] << 8);
}

static inline uint32_t load_le32(const uint8_t *from)
{
	return (uint32_t)from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 |
	       (uint32_t)from[3] << 24;
}

static inline uint64_t load_le64(const uint8_t *from)
{
	return (uint64_t)load_le32(from) | (uint64_t)load_le32(from + 4) << 32;
}

#endif
