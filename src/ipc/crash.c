/*
 * The dying side, and the owner's check of what it left. See crash_report.c for the words.
 */
#include "ipc/crash.h"

#include <string.h>
#include <unistd.h>

#include "ipc/loader.h"
#include "os/fault.h"

#define MODULE_PATH "/proc/self/fd/" /* see os/dl.h */

_Static_assert(RECORD_DIGEST_BYTES <= CRASH_NAME_BYTES, "a digest fits where a path does");

/* What the handler needs, written before it is installed. */
static struct watcher {
	const struct loader *loader;
	const char *ours; /* the dynamic loader's name for what this code is in; "": the program */
	char program[CRASH_NAME_BYTES];
} watcher = { .ours = "" };

/* --- in the handler: nothing here locks, allocates or formats --- */

/* The N of /proc/self/fd/N; -1 if the path is another. */
static int module_fd(const char *path)
{
	size_t prefix = sizeof(MODULE_PATH) - 1;
	int fd = 0;

	if (strncmp(path, MODULE_PATH, prefix) != 0 || path[prefix] == '\0')
		return -1;
	for (const char *digit = path + prefix; *digit; digit++) {
		if (*digit < '0' || *digit > '9' || fd > 100000000)
			return -1;
		fd = fd * 10 + (*digit - '0');
	}
	return fd;
}

static bool name_object(const char *path, struct crash_object *out)
{
	int fd = module_fd(path);

	memset(out, 0, sizeof(*out));
	if (fd >= 0) {
		out->kind = CRASH_MODULE;
		return watcher.loader && loader_module_digest(watcher.loader, fd, out->name);
	}
	out->kind = strcmp(path, watcher.ours) == 0 ? CRASH_OURS : CRASH_FILE;
	path = path[0] ? path : watcher.program;
	memcpy(out->name, path, strnlen(path, sizeof(out->name) - 1));
	return true;
}

/* Its index, having added it if it is new; CRASH_NO_OBJECT if there is no room, or no name. */
static uint32_t put_object(struct crash_report *report, const char *path)
{
	uint32_t count = report->object_count;
	struct crash_object object;

	if (!name_object(path, &object))
		return CRASH_NO_OBJECT;
	for (uint32_t i = 0; i < count; i++) {
		if (memcmp(&report->objects[i], &object, sizeof(object)) == 0)
			return i;
	}
	if (count == CRASH_MAX_OBJECTS)
		return CRASH_NO_OBJECT;
	report->objects[count] = object;
	report->object_count = count + 1;
	return count;
}

static bool put_frame(uint64_t pc, bool call_site, void *context)
{
	struct crash_report *report = context;
	struct crash_frame *frame = &report->frames[report->frame_count];
	const char *path;
	uint64_t address;

	frame->object = CRASH_NO_OBJECT;
	frame->address = pc;
	frame->call_site = call_site;
	if (fault_locate(pc, &path, &address))
		frame->object = put_object(report, path);
	if (frame->object != CRASH_NO_OBJECT)
		frame->address = address;
	/* It may fault before the next frame: the one that is complete counts at once. */
	atomic_signal_fence(memory_order_seq_cst);
	report->frame_count++;
	return report->frame_count < CRASH_MAX_FRAMES;
}

static void record(const struct fault *fault, void *context)
{
	struct crash_area *area = context;
	struct crash_report *report = &area->report;

	memset(report, 0, sizeof(*report));
	report->signal = fault->signal;
	report->code = fault->code;
	report->pid = (int32_t)getpid();
	report->detail = fault->detail;
	report->address = fault->address;
	report->pc = fault->pc;
	report->sp = fault->sp;
	atomic_store(&area->recorded, 1);
	fault_backtrace(fault, put_frame, report);
	report->complete = 1;
}

void crash_watch(struct crash_area *area, const struct loader *loader)
{
	uint64_t unused;
	ssize_t size = readlink("/proc/self/exe", watcher.program, sizeof(watcher.program) - 1);

	watcher.program[size > 0 ? size : 0] = '\0';
	(void)fault_locate((uint64_t)(uintptr_t)&watcher, &watcher.ours, &unused);
	watcher.loader = loader;
	/* Without memory for a stack of its own the handler runs on the thread's: less is heard. */
	(void)fault_watch(record, area);
}

/* --- the owner --- */

/* It ends, and a terminal shows it as it is. */
static bool is_path(const uint8_t *name)
{
	size_t size = strnlen((const char *)name, CRASH_NAME_BYTES);

	if (size == CRASH_NAME_BYTES)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (name[i] < ' ' || name[i] == 0x7f)
			return false;
	}
	return true;
}

static bool check_object(const struct crash_object *object)
{
	switch (object->kind) {
	case CRASH_MODULE:
		return true;
	case CRASH_FILE:
	case CRASH_OURS:
		return is_path(object->name);
	default:
		return false;
	}
}

bool crash_check(const struct crash_report *report)
{
	if (!fault_is_watched(report->signal) || report->complete > 1 ||
	    report->frame_count > CRASH_MAX_FRAMES || report->object_count > CRASH_MAX_OBJECTS)
		return false;
	for (uint32_t i = 0; i < report->object_count; i++) {
		if (!check_object(&report->objects[i]))
			return false;
	}
	for (uint32_t i = 0; i < report->frame_count; i++) {
		const struct crash_frame *frame = &report->frames[i];

		if (frame->call_site > 1 ||
		    (frame->object != CRASH_NO_OBJECT && frame->object >= report->object_count))
			return false;
	}
	return true;
}

bool crash_take(struct crash_area *area, struct crash_report *out)
{
	bool recorded = atomic_load(&area->recorded) == 1;

	*out = area->report;
	memset(&area->report, 0, sizeof(area->report));
	atomic_store(&area->recorded, 0);
	return recorded && crash_check(out);
}
