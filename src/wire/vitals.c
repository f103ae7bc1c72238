#include "wire/vitals.h"

#include "wire/cursor.h"
#include "wire/tree.h"

#define RECORD "a vitals"

static void put_workers(struct writer *writer, const struct vitals_workers *workers)
{
	put(writer, &workers->count, sizeof(workers->count));
	put(writer, &workers->idle, sizeof(workers->idle));
	put(writer, &workers->busy, sizeof(workers->busy));
	put(writer, &workers->restarting, sizeof(workers->restarting));
	put(writer, &workers->dead, sizeof(workers->dead));
	put(writer, &workers->queued, sizeof(workers->queued));
	put(writer, &workers->deaths, sizeof(workers->deaths));
}

size_t vitals_encode(const struct vitals *vitals, void *bytes, size_t capacity)
{
	struct writer writer = write_to(bytes, capacity);
	size_t text = strlen(vitals->device_error);

	put_workers(&writer, &vitals->subs);
	put_workers(&writer, &vitals->chips);
	put(&writer, &vitals->runs, sizeof(vitals->runs));
	put_byte(&writer, vitals->helper_stopped);
	put(&writer, &vitals->chips_shut, sizeof(vitals->chips_shut));
	put_byte(&writer, text);
	put(&writer, vitals->device_error, text);
	return written(&writer);
}

static simpler_status get_workers(struct reader *reader, struct vitals_workers *out)
{
	get(reader, &out->count, sizeof(out->count));
	get(reader, &out->idle, sizeof(out->idle));
	get(reader, &out->busy, sizeof(out->busy));
	get(reader, &out->restarting, sizeof(out->restarting));
	get(reader, &out->dead, sizeof(out->dead));
	get(reader, &out->queued, sizeof(out->queued));
	get(reader, &out->deaths, sizeof(out->deaths));
	if (out->count > TREE_MAX_CHILDREN)
		return malformed(RECORD, "there are more workers than there can be");
	/* As 64 bits, so that the sum cannot wrap. */
	if ((uint64_t)out->idle + out->busy + out->restarting + out->dead != out->count)
		return malformed(RECORD, "its workers do not add up");
	return SIMPLER_OK;
}

simpler_status vitals_decode(const void *bytes, size_t size, struct vitals *out)
{
	struct reader reader = read_from(bytes, size);
	simpler_status status = get_workers(&reader, &out->subs);

	if (status == SIMPLER_OK)
		status = get_workers(&reader, &out->chips);
	get(&reader, &out->runs, sizeof(out->runs));
	if (status == SIMPLER_OK)
		status = get_bool(&reader, RECORD, &out->helper_stopped);
	get(&reader, &out->chips_shut, sizeof(out->chips_shut));
	if (status == SIMPLER_OK && out->chips_shut > out->chips.count)
		status = malformed(RECORD, "more chips could not be opened than there are");
	if (status == SIMPLER_OK)
		status = get_string(&reader, RECORD, VITALS_TEXT_MAX, out->device_error);
	return status == SIMPLER_OK ? get_end(&reader, RECORD) : status;
}
