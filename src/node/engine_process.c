/*
 * The engine leads a process group, and orphans below it become the front end's children. So its
 * end is the end of everything below it: the group is killed while the engine is still unreaped,
 * then all children are waited for. Only after that may storage that its workers had mapped be
 * given to somebody else.
 */
#include "node/engine_process.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "node/engine_link.h"
#include "os/memory.h"
#include "os/process.h"
#include "os/socket.h"

#define NUMBER_MAX 21
/* The killed need no time, except those in the middle of a system call. */
#define REAP_MS 2000

static simpler_status open_rings(struct engine_process *engine, int *fd)
{
	simpler_status status = memory_create("simpler-rings", engine_memory_bytes(), fd);
	uint8_t *base;

	if (status != SIMPLER_OK)
		return status;
	status = memory_commit(*fd, 0, engine_memory_bytes());
	if (status == SIMPLER_OK)
		status = memory_map(*fd, engine_memory_bytes(), &engine->rings_memory);
	if (status != SIMPLER_OK) {
		(void)close(*fd);
		return status;
	}
	base = engine->rings_memory;
	ring_init(base, ENGINE_RING_BYTES);
	ring_init(base + ring_bytes(ENGINE_RING_BYTES), ENGINE_RING_BYTES);
	ring_attach(&engine->requests, base, ENGINE_RING_BYTES);
	ring_attach(&engine->outcomes, base + ring_bytes(ENGINE_RING_BYTES), ENGINE_RING_BYTES);
	engine->bulletin = (const struct bulletin *)(void *)(base + engine_bulletin_at());
	return SIMPLER_OK;
}

/* Most pairs of an option and its value. */
#define MAX_PAIRS (8 + ENGINE_MAX_UNLINKS)

/* The arguments of an engine. */
struct command_line {
	char *words[2 + 2 * MAX_PAIRS + 1];
	size_t count;
	char numbers[MAX_PAIRS][NUMBER_MAX];
	size_t number_count;
};

/* exec's argv is not const for historical reasons; nothing writes to it. */
static void add(struct command_line *line, const char *first, const char *second)
{
	line->words[line->count++] = (char *)(uintptr_t)first;
	line->words[line->count++] = (char *)(uintptr_t)second;
	line->words[line->count] = NULL;
}

static void add_number(struct command_line *line, const char *name, uint64_t value)
{
	char *text = line->numbers[line->number_count++];

	(void)snprintf(text, NUMBER_MAX, "%llu", (unsigned long long)value);
	add(line, name, text);
}

static simpler_status execute(const struct engine_options *options, const int *fds,
                              struct engine_process *engine)
{
	struct command_line line = { .count = 0 };

	add(&line, options->program, "engine");
	add_number(&line, "--sub-workers", options->sub_workers);
	add_number(&line, "--arena-bytes", options->arena_bytes);
	add(&line, "--node-id", options->node_id);
	add(&line, "--log-level", log_level_name(options->log_level));
	add_number(&line, "--heap-bytes", options->heap_bytes);
	add_number(&line, "--stop-grace", options->stop_grace_ms);
	if (options->chips > 0) {
		add_number(&line, "--chips", options->chips);
		add(&line, "--device", options->device);
	}
	for (size_t i = 0; i < ENGINE_MAX_UNLINKS; i++) {
		if (options->unlinks[i])
			add(&line, "--unlink", options->unlinks[i]);
	}
	return process_start_group(options->program, line.words, fds, 3, &engine->pid,
	                           &engine->pidfd);
}

simpler_status engine_process_start(const struct engine_options *options,
                                    struct engine_process *out)
{
	int ends[2], rings_fd;
	simpler_status status = open_rings(out, &rings_fd);

	if (status != SIMPLER_OK)
		return status;
	status = socket_pair(ends);
	if (status == SIMPLER_OK) {
		const int fds[] = { ends[1], options->arena_fd, rings_fd };

		status = execute(options, fds, out);
		(void)close(ends[1]);
		if (status != SIMPLER_OK)
			(void)close(ends[0]);
	}
	(void)close(rings_fd);
	if (status != SIMPLER_OK) {
		memory_unmap(out->rings_memory, engine_memory_bytes());
		return status;
	}
	out->control = ends[0];
	return SIMPLER_OK;
}

void engine_process_end(struct engine_process *engine, int *wait_status)
{
	process_kill_group(engine->pid);
	(void)process_wait(engine->pidfd, CLOCK_NEVER, wait_status);
	(void)close(engine->control);
	if (!process_reap(clock_after_ms(REAP_MS)))
		simpler_log(SIMPLER_LOG_WARN,
		            "processes that user code started outside the engine's group are still "
		            "there; they may hold on to the tensor arena");
}

void engine_process_release(struct engine_process *engine)
{
	(void)close(engine->pidfd);
	memory_unmap(engine->rings_memory, engine_memory_bytes());
}
