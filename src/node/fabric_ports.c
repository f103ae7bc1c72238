#include "node/fabric_ports.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "os/random.h"
#include "transport/transport.h"

struct session_port {
	struct fabric_ports *ports;
	uint64_t session;
	struct fabric_port *port;
	struct landing *landings;  /* by their number */
	struct session_port *next; /* of those that have left */
	UT_hash_handle hh;         /* by session */
};

/* A handle that a fabric reaches. */
struct landing {
	uint64_t handle;
	uint32_t number; /* that writes carry, no other handle's of the session */
	uint32_t landed; /* modulo 2^32 */
	struct session_port *owner;
	struct fabric_region *region;
	uint64_t nbytes;
	UT_hash_handle hh;        /* by handle */
	UT_hash_handle by_number; /* of the owner's */
};

struct fabric_ports {
	struct fabric *fabric;
	pthread_mutex_t lock; /* guards: */
	struct session_port *joined;
	struct session_port *left;
	struct landing *landings; /* of all */
	bool told;                /* that something could not be registered */
	struct fabric_wait *waits;
	struct fabric_port *lender; /* of what other nodes read; NULL until there was some */
	struct {
		struct fabric_address address;
		struct transport *transport;
	} peers[FABRIC_PORTS_PEERS];
	uint32_t peer_count;
	uint64_t fallbacks;
};

simpler_status fabric_ports_create(const struct fabric_options *options, struct fabric_ports **out)
{
	struct fabric_ports *ports = calloc(1, sizeof(*ports));
	simpler_status status;

	if (!ports)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a fabric");
	status = fabric_open(options, &ports->fabric);
	if (status != SIMPLER_OK) {
		free(ports);
		return status;
	}
	(void)pthread_mutex_init(&ports->lock, NULL);
	*out = ports;
	return SIMPLER_OK;
}

struct fabric *fabric_ports_fabric(const struct fabric_ports *ports)
{
	return ports->fabric;
}

enum fabric_provider fabric_ports_provider(const struct fabric_ports *ports)
{
	return fabric_provider(ports->fabric);
}

/* --- waits --- */

/* uthash's macros are long when they are expanded. */
/* NOLINTBEGIN(readability-function-size) */

/* Under the lock, as all but let_go(). Whether all of it has landed; SIMPLER_ESTALE when that can
 * never be. */
static simpler_status judge(struct fabric_ports *ports, const struct fabric_wait *wait,
                            bool *landed)
{
	*landed = true;
	for (uint32_t i = 0; i < wait->count; i++) {
		uint64_t handle = wait->needs[i].handle;
		struct landing *landing;

		HASH_FIND(hh, ports->landings, &handle, sizeof(handle), landing);
		if (!landing)
			return error_raise(
				SIMPLER_ESTALE,
				"bytes were to land in a tensor that no fabric reaches, or "
				"that was freed");
		if ((int32_t)(landing->landed - wait->needs[i].landed) < 0)
			*landed = false;
	}
	return SIMPLER_OK;
}

static bool names(const struct fabric_wait *wait, uint64_t handle)
{
	for (uint32_t i = 0; i < wait->count; i++) {
		if (wait->needs[i].handle == handle)
			return true;
	}
	return false;
}

/* Those that the handle concerns, and that wait no longer. */
static struct fabric_wait *take_ready(struct fabric_ports *ports, uint64_t handle)
{
	struct fabric_wait *wait, *next, *ready = NULL;
	bool landed;

	DL_FOREACH_SAFE (ports->waits, wait, next) {
		if (!names(wait, handle))
			continue;
		wait->error.status = judge(ports, wait, &landed);
		if (wait->error.status != SIMPLER_OK)
			error_save(&wait->error);
		else if (!landed)
			continue;
		DL_DELETE(ports->waits, wait);
		DL_APPEND(ready, wait);
	}
	return ready;
}

static struct fabric_wait *take_late(struct fabric_ports *ports, int64_t *next_one)
{
	struct fabric_wait *wait, *next, *late = NULL;
	int64_t now = clock_now();

	*next_one = CLOCK_NEVER;
	DL_FOREACH_SAFE (ports->waits, wait, next) {
		if (wait->until > now) {
			*next_one = wait->until < *next_one ? wait->until : *next_one;
			continue;
		}
		error_init(
			&wait->error, SIMPLER_EUNAVAILABLE,
			"bytes that were written to its tensors by the fabric have not landed in "
			"time");
		DL_DELETE(ports->waits, wait);
		DL_APPEND(late, wait);
	}
	return late;
}

/* At the next step. */
static void end_waits(struct fabric_ports *ports, uint64_t handle)
{
	struct fabric_wait *wait;

	DL_FOREACH (ports->waits, wait) {
		if (names(wait, handle))
			wait->until = 0;
	}
}

static void let_go(struct fabric_wait *ready)
{
	struct fabric_wait *wait, *next;

	DL_FOREACH_SAFE (ready, wait, next) {
		DL_DELETE(ready, wait);
		wait->go(wait, wait->error.status != SIMPLER_OK ? &wait->error : NULL);
	}
}

simpler_status fabric_ports_wait(struct fabric_ports *ports, struct fabric_wait *wait, bool *waits)
{
	simpler_status status;
	bool landed;

	pthread_mutex_lock(&ports->lock);
	status = judge(ports, wait, &landed);
	*waits = status == SIMPLER_OK && !landed;
	if (*waits)
		DL_APPEND(ports->waits, wait);
	pthread_mutex_unlock(&ports->lock);
	return status;
}

/* --- sessions --- */

static void on_landed(void *context, uint32_t number)
{
	struct session_port *owner = context;
	struct fabric_wait *ready = NULL;
	struct landing *landing;

	pthread_mutex_lock(&owner->ports->lock);
	HASH_FIND(by_number, owner->landings, &number, sizeof(number), landing);
	if (landing) {
		landing->landed++;
		ready = take_ready(owner->ports, landing->handle);
	}
	pthread_mutex_unlock(&owner->ports->lock);
	let_go(ready);
}

static struct session_port *find_port(struct fabric_ports *ports, uint64_t session)
{
	struct session_port *port;

	HASH_FIND(hh, ports->joined, &session, sizeof(session), port);
	return port;
}

/* Two calls of one session may be here at once: the first to come in keeps its port. */
static struct session_port *keep_first(struct fabric_ports *ports, struct session_port *made)
{
	struct session_port *there = find_port(ports, made->session);

	if (!there)
		HASH_ADD(hh, ports->joined, session, sizeof(made->session), made);
	else
		LL_PREPEND(ports->left, made);
	return there ? there : made;
}

static simpler_status make_port(struct fabric_ports *ports, uint64_t session,
                                struct session_port **out)
{
	struct session_port *made = calloc(1, sizeof(*made));
	const struct fabric_port_options options = { .landed = on_landed, .context = made };
	simpler_status status;

	if (!made)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a fabric's port");
	made->ports = ports;
	made->session = session;
	status = fabric_port_open(ports->fabric, &options, &made->port);
	if (status == SIMPLER_OK)
		*out = made;
	else
		free(made);
	return status;
}

simpler_status fabric_ports_join(struct fabric_ports *ports, uint64_t session,
                                 struct fabric_address *out)
{
	struct session_port *port;
	simpler_status status = SIMPLER_OK;

	pthread_mutex_lock(&ports->lock);
	port = find_port(ports, session);
	pthread_mutex_unlock(&ports->lock);
	if (!port) {
		status = make_port(ports, session, &port);
		if (status != SIMPLER_OK)
			return status;
		pthread_mutex_lock(&ports->lock);
		port = keep_first(ports, port);
		pthread_mutex_unlock(&ports->lock);
	}
	*out = *fabric_port_address(port->port);
	return status;
}

void fabric_ports_leave(struct fabric_ports *ports, uint64_t session)
{
	struct session_port *port;

	pthread_mutex_lock(&ports->lock);
	port = find_port(ports, session);
	if (port) {
		HASH_DELETE(hh, ports->joined, port);
		LL_PREPEND(ports->left, port);
	}
	pthread_mutex_unlock(&ports->lock);
}

uint32_t fabric_ports_sessions(struct fabric_ports *ports)
{
	uint32_t count;

	if (!ports)
		return 0;
	pthread_mutex_lock(&ports->lock);
	count = HASH_COUNT(ports->joined);
	pthread_mutex_unlock(&ports->lock);
	return count;
}

/* Its handles are revoked, or their regions go with it. */
static void close_port(struct session_port *port)
{
	struct fabric_ports *ports = port->ports;
	struct landing *landing, *next;

	pthread_mutex_lock(&ports->lock);
	landing = port->landings;
	HASH_CLEAR(by_number, port->landings);
	for (; landing; landing = next) {
		next = landing->by_number.next;
		assert(ports->landings); /* it is in there */
		HASH_DELETE(hh, ports->landings, landing);
		free(landing);
	}
	pthread_mutex_unlock(&ports->lock);
	fabric_port_close(port->port);
	free(port);
}

int64_t fabric_ports_step(struct fabric_ports *ports)
{
	struct session_port *left, *next;
	struct fabric_wait *late;
	int64_t again;

	if (!ports)
		return CLOCK_NEVER;
	pthread_mutex_lock(&ports->lock);
	left = ports->left;
	ports->left = NULL;
	late = take_late(ports, &again);
	pthread_mutex_unlock(&ports->lock);
	let_go(late);
	LL_FOREACH_SAFE (left, left, next)
		close_port(left);
	return again;
}

void fabric_ports_destroy(struct fabric_ports *ports)
{
	struct session_port *port, *next;

	if (!ports)
		return;
	(void)fabric_ports_step(ports);
	port = ports->joined;
	HASH_CLEAR(hh, ports->joined);
	for (; port; port = next) {
		next = port->hh.next;
		close_port(port);
	}
	for (uint32_t i = 0; i < ports->peer_count; i++)
		ports->peers[i].transport->ops->close(ports->peers[i].transport);
	if (ports->lender)
		fabric_port_close(ports->lender);
	fabric_close(ports->fabric);
	(void)pthread_mutex_destroy(&ports->lock);
	free(ports);
}

/* --- other nodes --- */

/* Under the lock. */
static simpler_status open_lender(struct fabric_ports *ports)
{
	const struct fabric_port_options options = { .landed = NULL };

	return ports->lender ? SIMPLER_OK
	                     : fabric_port_open(ports->fabric, &options, &ports->lender);
}

simpler_status fabric_ports_lend(struct fabric_ports *ports, void *bytes, uint64_t nbytes,
                                 struct fabric_region **out, struct fabric_place *place)
{
	simpler_status status;

	pthread_mutex_lock(&ports->lock);
	status = open_lender(ports);
	pthread_mutex_unlock(&ports->lock);
	if (status == SIMPLER_OK)
		status = fabric_region_open(ports->lender, bytes, nbytes, FABRIC_READABLE, out);
	if (status != SIMPLER_OK)
		return status;
	place->nbytes = nbytes;
	place->landing = 0;
	fabric_region_place(*out, place);
	return SIMPLER_OK;
}

bool fabric_ports_fell_back(struct fabric_ports *ports)
{
	bool first;

	pthread_mutex_lock(&ports->lock);
	first = ports->fallbacks++ == 0;
	pthread_mutex_unlock(&ports->lock);
	return first;
}

struct transport *fabric_ports_towards(struct fabric_ports *ports,
                                       const struct fabric_address *address)
{
	struct transport *transport = NULL;

	pthread_mutex_lock(&ports->lock);
	for (uint32_t i = 0; i < ports->peer_count && !transport; i++) {
		if (fabric_address_equal(&ports->peers[i].address, address))
			transport = ports->peers[i].transport;
	}
	if (!transport && ports->peer_count < FABRIC_PORTS_PEERS &&
	    fabric_transport_create(ports->fabric, address, &transport) == SIMPLER_OK) {
		ports->peers[ports->peer_count].address = *address;
		ports->peers[ports->peer_count++].transport = transport;
	}
	pthread_mutex_unlock(&ports->lock);
	return transport;
}

/* --- handles --- */

static void tell_once(struct fabric_ports *ports)
{
	bool told;

	pthread_mutex_lock(&ports->lock);
	told = ports->told;
	ports->told = true;
	pthread_mutex_unlock(&ports->lock);
	simpler_log(told ? SIMPLER_LOG_DEBUG : SIMPLER_LOG_WARN,
	            "a tensor cannot be reached by the fabric: %s", simpler_last_error_step(0));
}

/* Under the lock: with a number that no other landing of the port has. */
static void add(struct fabric_ports *ports, struct landing *landing)
{
	struct session_port *owner = landing->owner;
	struct landing *other;

	do {
		landing->number = (uint32_t)random_u64();
		HASH_FIND(by_number, owner->landings, &landing->number, sizeof(landing->number),
		          other);
	} while (other);
	HASH_ADD(by_number, owner->landings, number, sizeof(landing->number), landing);
	HASH_ADD(hh, ports->landings, handle, sizeof(landing->handle), landing);
}

static simpler_status make_landing(struct session_port *port, uint64_t handle, void *bytes,
                                   uint64_t nbytes, struct landing **out)
{
	struct landing *landing = calloc(1, sizeof(*landing));
	simpler_status status;

	if (!landing)
		return error_raise(SIMPLER_ENOMEM, "out of memory to note it");
	landing->handle = handle;
	landing->owner = port;
	landing->nbytes = nbytes;
	status = fabric_region_open(port->port, bytes, nbytes, FABRIC_READABLE | FABRIC_WRITABLE,
	                            &landing->region);
	if (status == SIMPLER_OK)
		*out = landing;
	else
		free(landing);
	return status;
}

void fabric_ports_register(struct fabric_ports *ports, uint64_t session, uint64_t handle,
                           void *bytes, uint64_t nbytes)
{
	struct session_port *port;
	struct landing *landing;

	pthread_mutex_lock(&ports->lock);
	port = find_port(ports, session);
	pthread_mutex_unlock(&ports->lock);
	if (!port)
		return;
	if (make_landing(port, handle, bytes, nbytes, &landing) != SIMPLER_OK) {
		tell_once(ports);
		return;
	}
	pthread_mutex_lock(&ports->lock);
	add(ports, landing);
	pthread_mutex_unlock(&ports->lock);
}

void fabric_ports_revoke(struct fabric_ports *ports, uint64_t handle)
{
	struct landing *landing;

	pthread_mutex_lock(&ports->lock);
	HASH_FIND(hh, ports->landings, &handle, sizeof(handle), landing);
	if (landing) {
		HASH_DELETE(hh, ports->landings, landing);
		HASH_DELETE(by_number, landing->owner->landings, landing);
		/* Those that wait for it are late at the next step: go() may call the pool, and the
		 * caller may be in it. */
		end_waits(ports, handle);
	}
	pthread_mutex_unlock(&ports->lock);
	if (!landing)
		return;
	fabric_region_close(landing->region);
	free(landing);
}

bool fabric_ports_find(struct fabric_ports *ports, uint64_t handle, struct fabric_place *out)
{
	struct landing *landing;

	pthread_mutex_lock(&ports->lock);
	HASH_FIND(hh, ports->landings, &handle, sizeof(handle), landing);
	if (landing) {
		fabric_region_place(landing->region, out);
		out->nbytes = landing->nbytes;
		out->landing = landing->number;
	}
	pthread_mutex_unlock(&ports->lock);
	return landing != NULL;
}

/* NOLINTEND(readability-function-size) */
