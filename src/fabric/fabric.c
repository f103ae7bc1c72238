/*
 * The loop, and who drives it.
 *
 * It polls its ports for SPIN_NS after the last thing that happened, and then sleeps on their
 * queues' descriptors and on one by which it is woken. Whoever gives it something to do sets
 * `woken` and then looks at `sleeping`; it sets `sleeping` and then looks at `woken`: so one of
 * them sees the other.
 *
 *   KEPT --a thread wants to attend, and nothing else is to be done--> FREE
 *   FREE --fabric_attend()--> ATTENDED --its end--> FREE
 *   FREE --fabric_wake(), or nobody has attended for REST_MS--> KEPT
 *
 * The fabric's thread drives where it is KEPT, and leaves where it finds that it was `wanted`. When
 * it is FREE, no operation is in progress that nobody is about to attend, and nothing comes
 * unasked but what can wait for REST_MS, such as the end of a connection.
 */
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include <rdma/fi_errno.h>

#include "base/clock.h"
#include "base/condition.h"
#include "fabric/library.h"
#include "fabric/loop.h"
#include "os/descriptor.h"
#include "os/events.h"

/* A short round trip fits in. Between two looks the core is anybody's who wants it: where there are
 * few, two loops would have those that each other's threads need for the answer. */
#define SPIN_NS 20000
/* The same after something has come of which nothing is told yet: the parts of a large transfer
 * follow each other so fast that who sleeps between them is late. */
#define PART_SPIN_NS 50000
/* Between two tries of what the provider had no room for. */
#define RETRY_MS 1
#define REST_MS  20

void fabric_wake(struct fabric *fabric)
{
	atomic_store(&fabric->woken, true);
	if (atomic_load(&fabric->sleeping))
		events_wake(fabric->wakeup);
	if (fabric->role == FREE) {
		fabric->recalled = true;
		(void)pthread_cond_signal(&fabric->called);
	}
}

/* --- sleeping --- */

struct bed {
	struct pollfd fds[FABRIC_PORTS_MAX + 1];
	struct fid *fids[FABRIC_PORTS_MAX];
	uint32_t count;
	int64_t until;
	int64_t polls_until;
};

static void make_bed(struct fabric *fabric, struct bed *bed)
{
	struct fabric_port *port;

	bed->fds[0] = (struct pollfd){ .fd = fabric->wakeup, .events = POLLIN };
	bed->count = 0;
	bed->until = CLOCK_NEVER;
	pthread_mutex_lock(&fabric->lock);
	DL_FOREACH (fabric->ports, port) {
		if (port->down)
			continue;
		bed->fids[bed->count++] = &port->cq->fid;
		bed->fds[bed->count] = (struct pollfd){ .fd = port->fd, .events = POLLIN };
		if (port_is_stuck(port))
			bed->until = clock_after_ms(RETRY_MS);
		if (port->look_at < bed->until)
			bed->until = port->look_at;
	}
	pthread_mutex_unlock(&fabric->lock);
}

/* Whether something has come, if only a part of what is told when it is whole. */
static bool sleep_on(struct fabric *fabric, struct bed *bed)
{
	bool came = true;

	make_bed(fabric, bed);
	atomic_store(&fabric->sleeping, true);
	if (!atomic_exchange(&fabric->woken, false) &&
	    (bed->count == 0 ||
	     fi_trywait(fabric->fabric, bed->fids, (int)bed->count) == FI_SUCCESS))
		came = descriptor_poll(bed->fds, bed->count + 1, bed->until) > 0;
	atomic_store(&fabric->sleeping, false);
	if (bed->fds[0].revents)
		events_clear(fabric->wakeup);
	return came;
}

/* --- the loop --- */

static void look_after(struct fabric_port *port)
{
	if (port->shutting)
		port_take_down(port, "this end of the fabric was shut");
}

/* Under the lock; the port is its closer's afterwards. */
static void let_go(struct fabric *fabric, struct fabric_port *port)
{
	DL_DELETE(fabric->ports, port);
	fabric->port_count--;
	port->gone = true;
	(void)pthread_cond_broadcast(&fabric->changed);
}

static void end_abandoned(struct fabric_port *port)
{
	const struct fabric_port_options options = port->options;

	port_release(port);
	if (options.gone)
		options.gone(options.context);
}

/* Once through all ports. They are added to the list's end by others, and only go in here. */
static bool step(struct fabric *fabric)
{
	struct fabric_port *port, *next;
	bool busy = false;

	pthread_mutex_lock(&fabric->lock);
	for (port = fabric->ports; port; port = next) {
		bool last, abandoned;

		look_after(port);
		last = port->closing;
		abandoned = port->abandoned;
		pthread_mutex_unlock(&fabric->lock);
		busy = port_step(port) || busy;
		pthread_mutex_lock(&fabric->lock);
		next = port->next;
		if (last) {
			let_go(fabric, port);
			busy = true; /* it may have been the last one that the end waits for */
		}
		if (last && abandoned) {
			pthread_mutex_unlock(&fabric->lock);
			end_abandoned(port);
			pthread_mutex_lock(&fabric->lock);
		}
	}
	pthread_mutex_unlock(&fabric->lock);
	return busy;
}

/* Look once, and sleep when there was nothing for a while. */
static void drive(struct fabric *fabric, struct bed *bed)
{
	if (step(fabric) || atomic_exchange(&fabric->woken, false))
		bed->polls_until = clock_now() + SPIN_NS;
	else if (clock_now() >= bed->polls_until && sleep_on(fabric, bed))
		bed->polls_until = clock_now() + PART_SPIN_NS;
	else
		(void)sched_yield();
}

/* --- who drives --- */

/* Under the lock. Whether there is something to do that nobody else is about to. */
static bool is_needed(const struct fabric *fabric)
{
	const struct fabric_port *port;

	DL_FOREACH (fabric->ports, port) {
		if (port->ops || port->ended || port->regions || port->shutting ||
		    port->options.receives > 0)
			return true;
	}
	return fabric->stopping;
}

/* Under the lock. */
static void rest(struct fabric *fabric)
{
	unsigned visits;

	fabric->role = FREE;
	fabric->wanted = fabric->recalled = false;
	do {
		visits = fabric->visits;
		(void)condition_wait(&fabric->called, &fabric->lock, clock_after_ms(REST_MS));
	} while (fabric->role == ATTENDED || (!fabric->recalled && fabric->visits != visits));
	fabric->role = KEPT;
}

static void *run(void *context)
{
	struct fabric *fabric = context;
	struct bed bed = { .polls_until = 0 };

	pthread_mutex_lock(&fabric->lock);
	while (!fabric->stopping || fabric->ports) {
		if (fabric->wanted && !is_needed(fabric))
			rest(fabric);
		pthread_mutex_unlock(&fabric->lock);
		drive(fabric, &bed);
		pthread_mutex_lock(&fabric->lock);
	}
	pthread_mutex_unlock(&fabric->lock);
	return NULL;
}

static bool begin_attendance(struct fabric *fabric)
{
	bool begun;

	pthread_mutex_lock(&fabric->lock);
	begun = fabric->role == FREE && !fabric->recalled;
	if (begun) {
		fabric->role = ATTENDED;
		fabric->visits++;
	} else {
		fabric->wanted = true;
		fabric_wake(fabric); /* who drives may not know of an operation that is attended */
	}
	pthread_mutex_unlock(&fabric->lock);
	return begun;
}

static void end_attendance(struct fabric *fabric)
{
	pthread_mutex_lock(&fabric->lock);
	fabric->role = FREE;
	if (is_needed(fabric))
		fabric_wake(fabric);
	pthread_mutex_unlock(&fabric->lock);
}

bool fabric_attend(struct fabric *fabric, const _Atomic bool *ended)
{
	struct bed bed = { .polls_until = clock_now() + SPIN_NS };

	if (!begin_attendance(fabric))
		return false;
	while (!atomic_load(ended))
		drive(fabric, &bed);
	end_attendance(fabric);
	return true;
}

/* --- opening and closing --- */

static simpler_status begin(struct fabric *fabric)
{
	simpler_status status = events_wakeup(&fabric->wakeup);
	int error;

	if (status != SIMPLER_OK)
		return status;
	error = pthread_create(&fabric->thread, NULL, run, fabric);
	if (error == 0)
		return SIMPLER_OK;
	(void)close(fabric->wakeup);
	return error_raise_errno(SIMPLER_ESYSTEM, error, "cannot start a fabric's thread");
}

static void release(struct fabric *fabric)
{
	if (fabric->fabric)
		(void)fi_close(&fabric->fabric->fid);
	if (fabric->info)
		libfabric.freeinfo(fabric->info);
	(void)pthread_cond_destroy(&fabric->called);
	(void)pthread_cond_destroy(&fabric->changed);
	(void)pthread_mutex_destroy(&fabric->lock);
	free(fabric);
}

simpler_status fabric_open(const struct fabric_options *options, struct fabric **out)
{
	struct fabric *fabric = calloc(1, sizeof(*fabric));
	simpler_status status;
	int error;

	if (!fabric)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a fabric");
	(void)pthread_mutex_init(&fabric->lock, NULL);
	(void)pthread_cond_init(&fabric->changed, NULL);
	condition_init(&fabric->called);
	status = provider_find(options, &fabric->provider, &fabric->info);
	if (status == SIMPLER_OK) {
		error = libfabric.fabric(fabric->info->fabric_attr, &fabric->fabric, NULL);
		if (error)
			status =
				provider_error(SIMPLER_EUNAVAILABLE, error, "cannot open a fabric");
	}
	if (status == SIMPLER_OK)
		status = begin(fabric);
	if (status == SIMPLER_OK)
		*out = fabric;
	else
		release(fabric);
	return status;
}

void fabric_close(struct fabric *fabric)
{
	pthread_mutex_lock(&fabric->lock);
	fabric->stopping = true;
	fabric_wake(fabric);
	pthread_mutex_unlock(&fabric->lock);
	(void)pthread_join(fabric->thread, NULL);
	(void)close(fabric->wakeup);
	release(fabric);
}

enum fabric_provider fabric_provider(const struct fabric *fabric)
{
	return fabric->provider;
}
