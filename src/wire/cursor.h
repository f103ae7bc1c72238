/*
 * Writing and reading the fields of a record one behind the other. After the first one that does
 * not fit, or is not there, nothing moves any more.
 */
#ifndef WIRE_CURSOR_H
#define WIRE_CURSOR_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

struct writer {
	uint8_t *start, *next;
	size_t left;
	bool fits;
};

struct reader {
	const uint8_t *next;
	size_t left;
	bool complete;
};

static inline struct writer write_to(void *bytes, size_t capacity)
{
	return (struct writer){ bytes, bytes, capacity, true };
}

static inline void put(struct writer *writer, const void *field, size_t size)
{
	writer->fits = writer->fits && size <= writer->left;
	if (!writer->fits || size == 0)
		return;
	memcpy(writer->next, field, size);
	writer->next += size;
	writer->left -= size;
}

static inline void put_byte(struct writer *writer, size_t value)
{
	uint8_t byte = (uint8_t)value;

	assert(value <= UINT8_MAX);
	put(writer, &byte, 1);
}

static inline size_t written(const struct writer *writer)
{
	return writer->fits ? (size_t)(writer->next - writer->start) : 0;
}

static inline struct reader read_from(const void *bytes, size_t size)
{
	return (struct reader){ bytes, size, true };
}

/* The next `size` bytes; NULL when there are not as many. */
static inline const uint8_t *take(struct reader *reader, size_t size)
{
	const uint8_t *bytes = reader->next;

	reader->complete = reader->complete && size <= reader->left;
	if (!reader->complete)
		return NULL;
	reader->next += size;
	reader->left -= size;
	return bytes;
}

/* A field that is missing is read as zero; `complete` says so. */
static inline void get(struct reader *reader, void *field, size_t size)
{
	const uint8_t *bytes = take(reader, size);

	if (bytes)
		memcpy(field, bytes, size);
	else
		memset(field, 0, size);
}

static inline uint8_t get_byte(struct reader *reader)
{
	uint8_t byte;

	get(reader, &byte, 1);
	return byte;
}

static inline simpler_status malformed(const char *record, const char *what)
{
	return error_raise(SIMPLER_EPROTOCOL, "%s record of another process is malformed: %s",
	                   record, what);
}

static inline simpler_status get_bool(struct reader *reader, const char *record, bool *out)
{
	uint8_t byte = get_byte(reader);

	*out = byte == 1;
	return byte <= 1 ? SIMPLER_OK : malformed(record, "a flag is neither 0 nor 1");
}

/* A string of at most `longest` bytes into a buffer of one more. */
static inline simpler_status get_string(struct reader *reader, const char *record, size_t longest,
                                        char *out)
{
	size_t size = get_byte(reader);
	const uint8_t *bytes;

	if (size > longest)
		return malformed(record, "a string is over its limit");
	bytes = take(reader, size);
	if (!bytes)
		return malformed(record, "it ends in a string");
	if (memchr(bytes, '\0', size))
		return malformed(record, "a string has a NUL in it");
	memcpy(out, bytes, size);
	out[size] = '\0';
	return SIMPLER_OK;
}

static inline simpler_status get_end(const struct reader *reader, const char *record)
{
	if (!reader->complete)
		return malformed(record, "it is too short");
	return reader->left == 0 ? SIMPLER_OK : malformed(record, "bytes follow its end");
}

#endif
