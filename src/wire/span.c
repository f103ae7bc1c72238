#include "wire/span.h"

#include <inttypes.h>
#include <string.h>

#include "base/checked.h"

static bool is_empty(const struct span *span)
{
	return span->runs == 0 || span->run_bytes == 0;
}

simpler_status span_check(const struct span *span)
{
	uint64_t end;

	if (is_empty(span))
		return SIMPLER_OK;
	if (span->runs > 1 && span->pitch < span->run_bytes)
		return error_raise(SIMPLER_EINVAL,
		                   "span has %" PRIu64 " runs of %" PRIu64 " bytes at a pitch of "
		                   "%" PRIu64 ": they overlap",
		                   span->runs, span->run_bytes, span->pitch);
	if (!checked_mul(span->runs - 1, span->pitch, &end) ||
	    !checked_add(end, span->run_bytes, &end) || !checked_add(end, span->offset, &end) ||
	    end > INT64_MAX)
		return error_raise(SIMPLER_EINVAL, "span goes past 2^63-1");
	return SIMPLER_OK;
}

uint64_t span_bytes(const struct span *span)
{
	return is_empty(span) ? 0 : span->runs * span->run_bytes;
}

uint64_t span_end(const struct span *span)
{
	if (is_empty(span))
		return 0;
	return span->offset + (span->runs - 1) * span->pitch + span->run_bytes;
}

/* Packed byte `at`: where it is, and how many bytes of its run, `most` at the most, are from there
 * on. */
static uint64_t place_of(const struct span *span, uint64_t at, size_t most, size_t *size)
{
	uint64_t run = at / span->run_bytes, within = at % span->run_bytes;
	uint64_t left = span->run_bytes - within;

	*size = left < most ? (size_t)left : most;
	return span->offset + run * span->pitch + within;
}

void span_read(const struct span *span, const uint8_t *base, uint64_t from, void *out, size_t size)
{
	uint8_t *to = out;
	size_t part;

	for (; size > 0; size -= part, from += part, to += part) {
		uint64_t at = place_of(span, from, size, &part);

		memcpy(to, base + at, part);
	}
}

void span_write(const struct span *span, uint8_t *base, uint64_t from, const void *bytes,
                size_t size)
{
	const uint8_t *next = bytes;
	size_t part;

	for (; size > 0; size -= part, from += part, next += part) {
		uint64_t at = place_of(span, from, size, &part);

		memcpy(base + at, next, part);
	}
}
