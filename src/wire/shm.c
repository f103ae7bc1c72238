#include "wire/shm.h"

#include <string.h>

#include "base/checked.h"
#include "wire/cursor.h"
#include "wire/little_endian.h"

/* --- places --- */

void shm_place_encode(const struct shm_place *place, uint8_t bytes[SHM_PLACE_BYTES])
{
	store_le32(bytes, SHM_VERSION);
	store_le32(bytes + 4, place->segment);
	store_le64(bytes + 8, place->offset);
	store_le64(bytes + 16, place->nbytes);
}

simpler_status shm_place_decode(const void *bytes, size_t size, struct shm_place *out)
{
	const uint8_t *from = bytes;
	uint64_t end;

	if (size != SHM_PLACE_BYTES)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a place in shared memory has %zu bytes instead of %u", size,
		                   SHM_PLACE_BYTES);
	if (load_le32(from) != SHM_VERSION)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "a place in shared memory is of version %llu; known is %u",
		                   (unsigned long long)load_le32(from), SHM_VERSION);
	*out = (struct shm_place){ .segment = (uint32_t)load_le32(from + 4),
		                   .offset = load_le64(from + 8),
		                   .nbytes = load_le64(from + 16) };
	if (!checked_add(out->offset, out->nbytes, &end) || end > INT64_MAX)
		return error_raise(SIMPLER_EPROTOCOL, "a place in shared memory goes past 2^63-1");
	return SIMPLER_OK;
}

/* --- asking --- */

/* What each begins with. */
static void put_version(struct writer *writer)
{
	const uint32_t version = SHM_VERSION;

	put(writer, &version, sizeof(version));
}

static simpler_status get_version(struct reader *reader, const char *what)
{
	uint32_t version;

	get(reader, &version, sizeof(version));
	if (!reader->complete)
		return malformed(what, "it is too short");
	if (version == SHM_VERSION)
		return SIMPLER_OK;
	return error_raise(SIMPLER_EPROTOCOL, "%s record is of version %u; known is %u", what,
	                   (unsigned)version, SHM_VERSION);
}

size_t shm_ask_encode(const struct shm_ask *ask, void *bytes, size_t capacity)
{
	struct writer writer = write_to(bytes, capacity);
	const uint32_t wish = ask->wish;

	put_version(&writer);
	put(&writer, &wish, sizeof(wish));
	put(&writer, &ask->session, sizeof(ask->session));
	if (ask->wish == SHM_LANE)
		put(&writer, &ask->bit, sizeof(ask->bit));
	return written(&writer);
}

simpler_status shm_ask_decode(const void *bytes, size_t size, struct shm_ask *out)
{
	struct reader reader = read_from(bytes, size);
	simpler_status status = get_version(&reader, "an ask");
	uint32_t wish;

	if (status != SIMPLER_OK)
		return status;
	get(&reader, &wish, sizeof(wish));
	get(&reader, &out->session, sizeof(out->session));
	out->wish = wish == SHM_LANE ? SHM_LANE : SHM_SEGMENT;
	out->bit = 0;
	if (wish == SHM_LANE)
		get(&reader, &out->bit, sizeof(out->bit));
	status = get_end(&reader, "an ask");
	if (status == SIMPLER_OK && wish > SHM_LANE)
		status = malformed("an ask", "it asks for what we do not know");
	if (status == SIMPLER_OK && out->session == 0)
		status = malformed("an ask", "it names no session");
	return status;
}

/* --- answering --- */

size_t shm_answer_encode(const struct shm_answer *answer, void *bytes, size_t capacity)
{
	struct writer writer = write_to(bytes, capacity);
	const int32_t status = (int32_t)answer->status;
	size_t text = answer->status == SIMPLER_OK ? 0 : strlen(answer->text);

	put_version(&writer);
	put(&writer, &status, sizeof(status));
	put(&writer, &answer->segment, sizeof(answer->segment));
	put(&writer, &answer->bytes, sizeof(answer->bytes));
	put_byte(&writer, text);
	put(&writer, answer->text, text);
	return written(&writer);
}

/* It comes from another process, and ends in a message for a person. */
static void clean(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 127)
			*text = '?';
	}
}

simpler_status shm_answer_decode(const void *bytes, size_t size, struct shm_answer *out)
{
	struct reader reader = read_from(bytes, size);
	simpler_status valid = get_version(&reader, "an answer");
	int32_t status;

	if (valid != SIMPLER_OK)
		return valid;
	get(&reader, &status, sizeof(status));
	get(&reader, &out->segment, sizeof(out->segment));
	get(&reader, &out->bytes, sizeof(out->bytes));
	valid = get_string(&reader, "an answer", SHM_TEXT_MAX, out->text);
	if (valid == SIMPLER_OK)
		valid = get_end(&reader, "an answer");
	if (valid != SIMPLER_OK)
		return valid;
	out->status = (simpler_status)status;
	clean(out->text);
	if (out->status == SIMPLER_OK && (out->bytes == 0 || out->bytes > INT64_MAX))
		return malformed("an answer", "its memory has no size that can be");
	return SIMPLER_OK;
}
