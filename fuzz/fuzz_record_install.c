/* What comes over a control socket: any bytes are refused, or are what encoding their install or
 * segment gives. A forget is tried by fuzz_record_task. Seeds: make-ipc-seeds. */
#include <stdlib.h>
#include <string.h>

#include "wire/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_segment(const uint8_t *data, size_t size)
{
	uint8_t again[RECORD_SEGMENT_MAX];
	struct record_segment segment;

	if (record_segment_decode(data, size, &segment) != SIMPLER_OK)
		return;
	if (record_segment_encode(&segment, again, sizeof(again)) != size ||
	    memcmp(again, data, size) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t again[RECORD_INSTALL_MAX];
	struct record_install install;

	try_segment(data, size);
	if (record_install_decode(data, size, &install) != SIMPLER_OK)
		return 0;
	if (record_install_encode(&install, again, sizeof(again)) != size)
		abort();
	if (memcmp(again, data, size) != 0)
		abort();
	return 0;
}
