/*
 * Whatever a worker leaves behind for a crash report is refused, or is told in a few steps. The
 * input is a struct crash_report. Seeds: make-crash-seeds.
 */
#include <stdlib.h>
#include <string.h>

#include "ipc/crash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No file of this machine may decide what an input does. */
static int find_nothing(void *context, const uint8_t digest[RECORD_DIGEST_BYTES])
{
	(void)context;
	(void)digest;
	return -1;
}

static void make_relative(struct crash_report *report)
{
	for (size_t i = 0; i < CRASH_MAX_OBJECTS; i++) {
		if (report->objects[i].name[0] == '/')
			report->objects[i].name[0] = '_';
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct crash_report report = { 0 };
	char text[CRASH_TEXT_BYTES];
	struct error error;

	memcpy(&report, data, size < sizeof(report) ? size : sizeof(report));
	make_relative(&report);
	if (!crash_check(&report))
		return 0;
	memset(text, 'a', sizeof(text));
	crash_fault_text(&report, text);
	if (!memchr(text, '\0', sizeof(text)))
		abort();
	error_init(&error, SIMPLER_ECRASHED, "cause");
	crash_explain(&report, find_nothing, NULL, &error);
	if (error.steps > 9 || error.steps > 1 + report.frame_count ||
	    (report.frame_count > 0 && error.steps == 1))
		abort();
	return 0;
}
