/* What comes by a lane, at either end: the message that a batch is, its records, and what each of
 * them says. Whatever is accepted can be written, and reads the same. Seeds: make-lane-seeds. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/lane_bytes.h"
#include "rpc/lane_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* It is one record and nothing else; the caller frees what it is in. */
static struct lane_record only_record(const uint8_t *bytes, size_t size)
{
	struct lane_record record;

	check(lane_next_record(&bytes, &size, &record) == SIMPLER_OK && size == 0);
	return record;
}

static void try_dispatch(const struct lane_record *record)
{
	static struct msg_dispatch first, second;
	uint64_t timeout, again;
	struct lane_record copy;
	uint8_t *bytes;
	size_t size;

	if (lane_dispatch_decode(record, &first, &timeout) != SIMPLER_OK)
		return;
	size = lane_dispatch_bytes(&first);
	bytes = malloc(size);
	check(bytes != NULL);
	lane_dispatch_encode(&first, 0, 0, bytes);
	lane_dispatch_stamp(bytes, record->tag, timeout);
	copy = only_record(bytes, size);
	check(copy.tag == record->tag);
	check(lane_dispatch_decode(&copy, &second, &again) == SIMPLER_OK);
	check(again == timeout && second.task_id == first.task_id);
	check(second.tensor_count == first.tensor_count);
	check(strcmp(second.config.output_prefix, first.config.output_prefix) == 0);
	free(bytes);
}

static void try_outcome(const struct lane_record *record)
{
	struct lane_outcome first, second;
	struct lane_record copy;
	uint8_t *bytes;
	size_t size;

	if (lane_outcome_decode(record, &first) != SIMPLER_OK)
		return;
	size = lane_outcome_bytes(&first);
	bytes = malloc(size);
	check(bytes != NULL);
	lane_outcome_encode(&first, record->tag, bytes);
	copy = only_record(bytes, size);
	check(lane_outcome_decode(&copy, &second) == SIMPLER_OK);
	check(second.code == first.code && second.note == first.note);
	check(second.size == first.size && second.ask_elsewhere == first.ask_elsewhere);
	check(first.size == 0 || memcmp(second.bytes, first.bytes, first.size) == 0);
	free(bytes);
}

static void try_records(const uint8_t *bytes, size_t size)
{
	struct lane_hello hello;
	struct lane_record record;

	while (size > 0 && lane_next_record(&bytes, &size, &record) == SIMPLER_OK) {
		(void)lane_hello_decode(&record, &hello);
		try_dispatch(&record);
		try_outcome(&record);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *records;
	struct bump bump;
	size_t count;

	if (size == 0)
		return 0;
	if (data[0] % 2 == 0) {
		try_records(data + 1, size - 1);
		return 0;
	}
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_lane_batch_decode(data + 1, size - 1, &bump, &records, &count) == SIMPLER_OK)
		try_records(records, count);
	bump_release(&bump);
	return 0;
}
