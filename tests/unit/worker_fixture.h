/*
 * A worker over children of the test's own: what the scheduler promises at every level, without a
 * process or a network. A fake child keeps the tasks it is started with until the test lets them
 * end, in the order and with the outcome that the test wants.
 */
#ifndef WORKER_FIXTURE_H
#define WORKER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "simpler/worker.h"
#include "worker/core.h"

#define FAKE_MAX_HELD  64
#define FAKE_MAX_ASKED 64

struct fake {
	struct exec_child child;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct exec_task *held[FAKE_MAX_HELD];
	uint32_t count, started, most, stops, retracted;
	uint64_t stopped; /* id of the task that was told to stop last */
	bool at_once;     /* finish in start(), as a fast child may */
	uint32_t depth;   /* calls of start() within one another, then */
	uint32_t deepest;
	bool keeps; /* retract() finds that all have begun */
	/* What it was asked about callables. It says yes, or that it is lost to what it refuses;
	 * or it keeps the last request until fake_answer(). It notes all but when it forgets. */
	enum exec_wish asked[FAKE_MAX_ASKED];
	uint32_t ask_count;
	bool refuses[EXEC_WITHDRAW + 1], keeps_asked, forgets_asked;
	struct exec_request *kept;
	bool away;           /* what is_away() says; see fake_set_away() */
	uint64_t life;       /* what life() says */
	uint32_t admissions; /* calls of admit(), and the last one's life and status */
	uint64_t admitted_life;
	simpler_status admitted;
	/* Called at the end of start(), in the thread that starts; NULL: nothing is. */
	void (*on_start)(void *context);
	void (*on_stop)(void *context); /* the same, of stop() */
	void *context;
};

struct fixture {
	struct worker_core *core;
	struct module *module;
	struct fake *node; /* child 0: runs orchestration functions, eight at once, not local */
	simpler_orch_fn fn;
	simpler_sub sub;
	int64_t cells[8];
};

int fixture_set_up(void **state);
int fixture_tear_down(void **state);

struct fake *fixture_add(struct worker_core *core, simpler_kind runs, uint32_t width,
                         uint32_t capacity);

/* Wait until `fake` holds a task and take the oldest. */
struct exec_task *fake_take(struct fake *fake);
/* Wait until it holds so many, or more. */
void fake_wait_for(struct fake *fake, uint32_t count);
/* It goes away or comes back, and the worker hears of it. */
void fake_set_away(struct worker_core *core, struct fake *fake, bool away);
/* Wait until it was admitted, or not, so many times. */
void fake_wait_for_admissions(struct fake *fake, uint32_t count);
/* Wait until so many tasks were told to stop. */
void fake_wait_for_stops(struct fake *fake, uint32_t count);
uint32_t fake_started(struct fake *fake);
/* Wait until it keeps a request and answer it. */
void fake_answer(struct fake *fake, simpler_status status);
void fake_end_well(struct exec_task *task);
void fake_end_badly(struct exec_task *task, simpler_status status, const char *why);
/* The same, of one that did not come to its end by itself. */
void fake_end_with(struct exec_task *task, enum exec_fate fate, const char *why);

/* Submit `fn` with one cell of the fixture, inline. */
simpler_status fixture_submit(simpler_orch *orch, const struct fixture *fixture, unsigned cell,
                              simpler_tag tag, const simpler_submit_options *options,
                              simpler_task *out);

/* A run in a thread of its own, so that the test's thread can play the children. */
struct background {
	pthread_t thread;
	struct fixture *fixture;
	simpler_orch_function *fn;
	struct run *run;
	simpler_status status;
	char text[4096];
};

void background_begin(struct background *run, struct fixture *fixture, simpler_orch_function *fn);
void background_begin_within(struct background *run, struct fixture *fixture,
                             simpler_orch_function *fn, uint64_t timeout_ms);
void background_end(struct background *run);

#define ORCH(name)                                                                                 \
	static simpler_status name(simpler_orch *orch, const simpler_args *args,                   \
	                           const simpler_config *config, simpler_bytes state)
#define FIXTURE_OF_STATE()                                                                         \
	struct fixture *fixture = *(struct fixture *const *)state.data;                            \
	(void)args;                                                                                \
	(void)config

#endif
