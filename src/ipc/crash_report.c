/* What a crash report says, in words. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "ipc/crash.h"
#include "os/fault.h"
#include "os/symbolize.h"

#define MAX_STEPS    8
#define STEP_BYTES   200 /* eight of them leave room for the steps of callers */
#define OBJECT_BYTES 80
/* An access this near to the stack pointer is one to the stack: it has come to its end. */
#define NEAR_STACK ((uint64_t)64 << 10)

/* --- the fault --- */

static bool is_memory_fault(const struct crash_report *report)
{
	return report->signal == SIGSEGV || report->signal == SIGBUS;
}

static bool is_stack_overflow(const struct crash_report *report)
{
	/* Either way around: a large frame faults far below the stack pointer, or it moved first.
	 * No stack is near 0, but a stack pointer that was overwritten may be. */
	return report->signal == SIGSEGV && report->address >= NEAR_STACK &&
	       report->address - report->sp + NEAR_STACK < 2 * NEAR_STACK;
}

static void sent_text(const struct crash_report *report, char *text)
{
	if (report->detail != report->pid)
		(void)snprintf(text, CRASH_TEXT_BYTES, ": sent by process %" PRId64,
		               report->detail);
	else
		(void)snprintf(text, CRASH_TEXT_BYTES, ": raised by itself%s",
		               report->signal == SIGABRT ? ", as abort() and assert() do" : "");
}

static void place_text(const struct crash_report *report, char *text, size_t capacity)
{
	text[0] = '\0';
	if (report->signal == SIGSYS)
		(void)snprintf(text, capacity, ", number %" PRId64, report->detail);
	/* The processor does not say which address it was that cannot exist. */
	if (!is_memory_fault(report) || report->code == SI_KERNEL)
		return;
	(void)snprintf(text, capacity, ", %s 0x%" PRIx64,
	               report->address == report->pc ? "calling or jumping to" : "at address",
	               report->address);
}

void crash_fault_text(const struct crash_report *report, char *text)
{
	const char *reason = fault_reason(report->signal, report->code);
	char place[64];

	if (fault_was_sent(report->code)) {
		sent_text(report, text);
		return;
	}
	place_text(report, place, sizeof(place));
	if (is_stack_overflow(report))
		(void)snprintf(text, CRASH_TEXT_BYTES, ": the stack overflowed%s", place);
	else if (reason)
		(void)snprintf(text, CRASH_TEXT_BYTES, ": %s%s", reason, place);
	else
		(void)snprintf(text, CRASH_TEXT_BYTES, ": code %d%s", (int)report->code, place);
}

/* --- which frames --- */

static const struct crash_object *object_of(const struct crash_report *report, uint32_t frame)
{
	uint32_t index = report->frames[frame].object;

	return index == CRASH_NO_OBJECT ? NULL : &report->objects[index];
}

static bool is_in(const struct crash_report *report, uint32_t frame, uint32_t kind)
{
	const struct crash_object *object = object_of(report, frame);

	return object && object->kind == kind;
}

/* Those up to the outermost function of a module: a callable may have called our functions, and
 * they its own. Without any, those before our own code; and the faulting one whoever it is. */
static uint32_t frames_to_tell(const struct crash_report *report)
{
	uint32_t count = report->frame_count, first = 1;

	while (count > 0 && !is_in(report, count - 1, CRASH_MODULE))
		count--;
	if (count > 0 || report->frame_count == 0)
		return count;
	while (first < report->frame_count && !is_in(report, first, CRASH_OURS))
		first++;
	return first;
}

/* How many from `first` on are the same: a recursion. */
static uint32_t repetitions(const struct crash_report *report, uint32_t first, uint32_t end)
{
	uint32_t next = first + 1;

	while (next < end && report->frames[next].object == report->frames[first].object &&
	       report->frames[next].address == report->frames[first].address)
		next++;
	return next - first;
}

/* --- their words --- */

struct sources {
	crash_module_finder *find;
	void *context;
	struct {
		bool tried;
		struct symbolizer *symbolizer; /* NULL if its file cannot be read */
	} of[CRASH_MAX_OBJECTS];
};

static struct symbolizer *open_object(const struct sources *sources,
                                      const struct crash_object *object)
{
	const char *path = (const char *)object->name;
	int fd;

	if (object->kind == CRASH_MODULE) {
		fd = sources->find ? sources->find(sources->context, object->name) : -1;
		return fd >= 0 ? symbolizer_open(fd) : NULL;
	}
	/* A path that was cut, or counts from elsewhere, leads to another file; one below /proc to
	 * what is this process's own. */
	if (path[0] != '/' || strncmp(path, "/proc/", strlen("/proc/")) == 0 ||
	    strlen(path) == CRASH_NAME_BYTES - 1)
		return NULL;
	return symbolizer_open_path(path);
}

static struct symbolizer *get_symbolizer(struct sources *sources, const struct crash_report *report,
                                         uint32_t index)
{
	if (!sources->of[index].tried) {
		sources->of[index].tried = true;
		sources->of[index].symbolizer = open_object(sources, &report->objects[index]);
	}
	return sources->of[index].symbolizer;
}

static void close_sources(struct sources *sources)
{
	for (size_t i = 0; i < CRASH_MAX_OBJECTS; i++)
		symbolizer_close(sources->of[i].symbolizer);
}

/* "module 5be9c2d01f7ab3c4", as logs have digests; "/lib/x86_64-linux-gnu/libc.so.6", or the end of
 * a path that is long. */
static void object_text(const struct crash_object *object, char text[OBJECT_BYTES])
{
	const char *path = (const char *)object->name;
	size_t size = object->kind == CRASH_MODULE ? 0 : strlen(path), used;

	if (object->kind == CRASH_MODULE) {
		used = (size_t)snprintf(text, OBJECT_BYTES, "module ");
		for (size_t i = 0; i < 8; i++)
			used += (size_t)snprintf(text + used, OBJECT_BYTES - used, "%02x",
			                         object->name[i]);
	} else if (size == 0) {
		(void)snprintf(text, OBJECT_BYTES, "the program");
	} else if (size < OBJECT_BYTES) {
		memcpy(text, path, size + 1);
	} else {
		(void)snprintf(text, OBJECT_BYTES, "...%s", path + size - (OBJECT_BYTES - 4));
	}
}

static size_t frame_text(struct sources *sources, const struct crash_report *report, uint32_t index,
                         char *text, size_t capacity)
{
	const struct crash_frame *frame = &report->frames[index];
	const struct crash_object *object = object_of(report, index);
	const struct symbolizer *symbolizer;
	struct symbol symbol;
	char where[OBJECT_BYTES];
	int size;

	if (!object)
		return (size_t)snprintf(text, capacity, "at 0x%" PRIx64 ", of no known object",
		                        frame->address);
	object_text(object, where);
	symbolizer = get_symbolizer(sources, report, frame->object);
	if (!symbolizer ||
	    !symbolizer_find(symbolizer, frame->address, frame->call_site == 1, &symbol))
		size = snprintf(text, capacity, "in %s + 0x%" PRIx64, where, frame->address);
	else if (symbol.file[0])
		size = snprintf(text, capacity, "in %s at %s:%d (%s)", symbol.function, symbol.file,
		                symbol.line, where);
	else
		size = snprintf(text, capacity, "in %s + 0x%" PRIx64 " (%s + 0x%" PRIx64 ")",
		                symbol.function, symbol.offset, where, frame->address);
	return (size_t)size < capacity ? (size_t)size : capacity - 1;
}

/* What is said behind the last step that is told. */
static void end_text(const struct crash_report *report, uint32_t told, uint32_t to_tell, char *text,
                     size_t capacity)
{
	text[0] = '\0';
	if (told < to_tell)
		(void)snprintf(text, capacity, ", called through %" PRIu32 " more frames",
		               to_tell - told);
	else if (!report->complete)
		(void)snprintf(text, capacity, "; the stack could not be read further");
}

void crash_explain(const struct crash_report *report, crash_module_finder *find, void *context,
                   struct error *error)
{
	struct sources sources = { .find = find, .context = context };
	uint32_t end = frames_to_tell(report), next = 0;

	for (int step = 0; step < MAX_STEPS && next < end; step++) {
		uint32_t times = repetitions(report, next, end);
		char text[STEP_BYTES + 96], more[96];
		size_t used = frame_text(&sources, report, next, text, STEP_BYTES);

		next += times;
		if (times > 1)
			used += (size_t)snprintf(text + used, 32, ", %" PRIu32 " times%s", times,
			                         next == CRASH_MAX_FRAMES ? " or more" : "");
		more[0] = '\0';
		if (step + 1 == MAX_STEPS || next == end)
			end_text(report, next, end, more, sizeof(more));
		(void)snprintf(text + used, sizeof(text) - used, "%s", more);
		error_add_untrusted(error, text, strlen(text));
	}
	close_sources(&sources);
}
