/*
 * The daemon's life, in the thread that calls daemon_run(), which is also the engine's supervisor:
 *
 *   STARTING -the engine is ready-> SERVING -SIGTERM, SIGINT-> DRAINING -> over
 *
 * Built in order: arena, pool, catalog, server, engine; taken apart in the opposite one, but that
 * the engine goes before the server, so that every call it still had is answered. The server binds
 * before the engine starts: the engine is told which files to remove should this process be killed,
 * and until the socket is bound its file may be another daemon's.
 *
 * A drain flips readiness first, then refuses new dispatches, then waits for the running ones, and
 * for clients to hear of it. A second signal ends the waiting. L3Worker.Drain begins one, too, and
 * can make it shorter.
 */
#include "node/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "ipc/host_program.h"
#include "node/address.h"
#include "node/fabric_ports.h"
#include "node/lane.h"
#include "node/node.h"
#include "node/port_file.h"
#include "node/shm_lane.h"
#include "node/shm_server.h"
#include "node/task_log.h"
#include "os/descriptor.h"
#include "os/events.h"
#include "os/memory.h"
#include "os/process.h"
#include "os/random.h"
#include "os/rlimits.h"
#include "rpc/health.h"
#include "rpc/reflection.h"
#include "wire/tree.h"

#define PROGRAM_MAX 4096
/* gRPC polls for a whole process in one thread at a time. A second thread in its queue takes turns
 * with the first, at the price of two or three wake-ups a call. */
#define RPC_THREADS    1u
#define SERVICES       9
#define LANES_END_MS   500  /* for clients to take the last outcomes, and a goodbye */
#define SERVER_STOP_MS 2000 /* for transfers in progress at the end */
/* For clients to hear of a drain by their next heartbeats, at most; and for what they sent before
 * they did. */
#define DRAIN_TELL_MS   2000
#define DRAIN_SETTLE_MS 20

enum life { STARTING, SERVING, DRAINING };

struct daemon {
	const struct options *options;
	struct node node;
	char node_id[OPTIONS_NODE_ID_MAX + 1];
	char program[PROGRAM_MAX];
	struct engine_options engine_options;
	uint64_t arena_bytes;
	void *arena; /* the pool's main segment */
	int arena_fd, signals;
	struct shm_server *shm; /* NULL: memory is not shared */
	char fabric_why[ERROR_STEP_BYTES];
	struct shm_lanes *shm_lanes;
	struct rpc_health *health;
	struct rpc_service services[SERVICES];
	struct rpc_server *server;
	struct session_owner session_owner;

	enum life life;
	unsigned stopped; /* services that were last told not to serve */
	bool hurried;     /* a second signal came */
	int64_t drain_began;
	int64_t drain_end; /* when waiting for running tasks ends */
	bool port_file_written;
};

/* --- what it serves --- */

static unsigned services_of(const char *name)
{
	static const struct {
		const char *name;
		unsigned services;
	} known[] = {
		{ "", READINESS_ALL },
		{ "simpler.distributed.v1.L3Worker", READINESS_WORKER },
		{ "simpler.distributed.v1.Catalog", READINESS_CATALOG },
		{ "simpler.distributed.v1.TensorPool", READINESS_POOL },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(name, known[i].name) == 0)
			return known[i].services;
	}
	return 0;
}

static enum rpc_health_state answer_health(void *context, const char *service)
{
	unsigned services = services_of(service);
	struct readiness_report report;

	if (services == 0)
		return RPC_HEALTH_UNKNOWN;
	readiness_report(context, &report);
	return report.stopped & services ? RPC_HEALTH_NOT_SERVING : RPC_HEALTH_SERVING;
}

static simpler_status start_server(struct daemon *daemon)
{
	const struct rpc_service services[SERVICES] = {
		{ node_worker_methods, NODE_WORKER_METHODS, &daemon->node },
		{ node_catalog_methods, NODE_CATALOG_METHODS, &daemon->node },
		{ node_module_methods, NODE_MODULE_METHODS, &daemon->node },
		{ node_pool_methods, NODE_POOL_METHODS, &daemon->node },
		{ node_stream_methods, NODE_STREAM_METHODS, &daemon->node },
		{ node_import_methods, NODE_IMPORT_METHODS, &daemon->node },
		{ node_fabric_methods, NODE_FABRIC_METHODS, &daemon->node },
		rpc_health_service(daemon->health),
		rpc_reflection_service(),
	};
	const struct rpc_server_options options = {
		.address = daemon->options->listen,
		.services = daemon->services,
		.service_count = SERVICES,
		.threads = RPC_THREADS,
		.max_streams = daemon->options->max_streams,
		.memory_bytes = daemon->options->rpc_bytes,
		.idle_ms = (uint64_t)daemon->options->idle_timeout * 1000,
	};

	memcpy(daemon->services, services, sizeof(services));
	return rpc_server_start(&options, &daemon->server);
}

/* --- birth --- */

/* Different at each start, so that nobody takes a handle from before for one of ours. */
static void choose_node_id(struct daemon *daemon)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	char host[OPTIONS_NODE_ID_MAX - 9 + 1] = "";

	if (daemon->options->node_id[0] != '\0') {
		memcpy(daemon->node_id, daemon->options->node_id, sizeof(daemon->node_id));
		return;
	}
	(void)gethostname(host, sizeof(host) - 1);
	host[strspn(host, allowed)] = '\0';
	(void)snprintf(daemon->node_id, sizeof(daemon->node_id), "%s-%08x",
	               host[0] != '\0' ? host : "node", (unsigned)random_u64() & 0xffffffffu);
}

/* Called under the pool's lock. */
static void handle_revoked(void *context, uint64_t handle)
{
	struct node *node = context;

	if (node->fabric)
		fabric_ports_revoke(node->fabric, handle);
}

static simpler_status build_pool(struct daemon *daemon)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct pool_options options = { .max_handles = OPTIONS_TENSORS_MAX,
		                        .max_session_handles = daemon->options->max_session_tensors,
		                        .max_session_grants = daemon->options->max_session_grants,
		                        .first_generation = (uint32_t)random_u64() >> 1,
		                        .now = clock_now,
		                        .revoke = handle_revoked,
		                        .context = &daemon->node };
	simpler_status status;

	daemon->arena_bytes = (daemon->options->pool_bytes + page - 1) / page * page;
	status = memory_create("simpler-arena", daemon->arena_bytes, &daemon->arena_fd);
	if (status == SIMPLER_OK)
		status = memory_map(daemon->arena_fd, daemon->arena_bytes, &options.base);
	if (status != SIMPLER_OK)
		return status;
	daemon->arena = options.base;
	options.memfd = daemon->arena_fd;
	options.capacity = daemon->arena_bytes;
	return pool_create(&options, &daemon->node.pool);
}

/* As many as there are processors, unless the options say otherwise. */
static unsigned count_sub_workers(const struct options *options)
{
	long count = sysconf(_SC_NPROCESSORS_ONLN), most = TREE_MAX_CHILDREN - options->chips;

	if (options->sub_workers != OPTIONS_PROCESSORS)
		return options->sub_workers;
	if (count < 1)
		return 1;
	return (unsigned)(count > most ? most : count);
}

static simpler_status describe_engine(struct daemon *daemon)
{
	const struct options *options = daemon->options;

	daemon->engine_options = (struct engine_options){
		.program = daemon->program,
		.node_id = daemon->node_id,
		.sub_workers = count_sub_workers(options),
		.chips = options->chips,
		.device = options->device,
		.heap_bytes = options->heap_bytes,
		.stop_grace_ms = options->stop_grace,
		.arena_fd = daemon->arena_fd,
		.arena_bytes = daemon->arena_bytes,
		.log_level = options->log_level,
		.unlinks = { address_unix_path(options->listen), options->port_file },
		.install_ms = ENGINE_INSTALL_MS,
		.wakeup = daemon->node.wakeup,
	};
	return host_program_find(daemon->program, sizeof(daemon->program));
}

static void session_renewed(void *context, uint64_t session)
{
	struct daemon *daemon = context;

	pool_renew_session(daemon->node.pool, session);
}

/* A lane of which nobody tells that its client is gone would keep its tasks, and they the session.
 */
static void session_left(void *context, uint64_t session)
{
	struct daemon *daemon = context;

	node_lanes_close(&daemon->node, session, "the session is over");
}

static void session_ended(void *context, uint64_t session, bool detached)
{
	struct daemon *daemon = context;

	(void)detached;
	session_left(context, session); /* one that was being opened */
	catalog_leave(daemon->node.catalog, session);
	pool_end_session(daemon->node.pool, session);
	if (daemon->node.fabric)
		fabric_ports_leave(daemon->node.fabric, session);
	events_wake(daemon->node.wakeup); /* its segment may be nobody's now */
	task_log_end_session(daemon->node.tasks, session);
}

static simpler_status make_sessions(struct daemon *daemon)
{
	const struct sessions_options options = {
		.owners = &daemon->session_owner,
		.owner_count = 1,
		.most = daemon->options->max_sessions,
		.most_tasks = daemon->options->max_session_tasks,
		.now = clock_now,
	};

	return sessions_create(&options, &daemon->node.sessions);
}

static simpler_status build_node(struct daemon *daemon)
{
	struct catalog_options catalog = CATALOG_OPTIONS_INIT;
	const struct options *options = daemon->options;
	struct node *node = &daemon->node;
	simpler_status status = build_pool(daemon);

	if (status == SIMPLER_OK)
		status = describe_engine(daemon);
	if (status != SIMPLER_OK)
		return status;
	node->options = options;
	node->id = daemon->node_id;
	node->boot_id = random_u64();
	node->started = clock_now();
	node->drain_grace_ms = (uint64_t)options->drain_grace * 1000;
	atomic_init(&node->drain_until, CLOCK_NEVER);
	status = policy_create(options->code, options->trust, &node->policy);
	if (status != SIMPLER_OK)
		return status;
	catalog.modules.bytes = options->module_bytes;
	catalog.modules.directory = options->store;
	catalog.modules.directory_bytes = options->store_bytes;
	catalog.library_directories = options->library_dirs;
	catalog.library_directory_count = options->library_dir_count;
	node->catalog = catalog_create(&catalog, node->policy);
	if (!node->catalog)
		return simpler_last_status();
	node->dispatches = dispatch_table_create(node);
	node->peers = peers_create(address_classify(options->listen));
	node->lanes = node_lanes_create();
	node->imports = node_imports_create();
	if (!node->dispatches || !node->imports || !node->peers || !node->lanes)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a node");
	status = task_log_create(options->orphan_grace, clock_now, &node->tasks);
	if (status != SIMPLER_OK)
		return status;
	daemon->session_owner =
		(struct session_owner){ session_renewed, session_ended, daemon, session_left };
	status = make_sessions(daemon);
	if (status != SIMPLER_OK)
		return status;
	return engine_client_create(&daemon->engine_options, node->catalog, &node->engine);
}

/* --- memory of sessions --- */

/* The engine is told of it before there is storage that tasks could name. Should that fail, the
 * segment is there, unused, when it is asked for again. */
simpler_status node_open_segment(struct node *node, uint64_t session, struct segment_view *out)
{
	struct record_segment record;
	simpler_status status = pool_open_segment(node->pool, session, out);

	if (status != SIMPLER_OK)
		return status;
	record = (struct record_segment){ .id = out->id, .bytes = out->bytes };
	status = engine_client_share(node->engine, &record, out->memfd);
	if (status == SIMPLER_OK)
		pool_begin_segment(node->pool, session);
	return status;
}

static simpler_status open_for_peer(void *context, uint64_t session, struct segment_view *out)
{
	struct daemon *daemon = context;
	struct node *node = &daemon->node;
	simpler_status status = sessions_enter(node->sessions, session);

	if (status != SIMPLER_OK)
		return status;
	status = node_open_segment(node, session, out);
	if (status == SIMPLER_OK)
		pool_share_segment(node->pool, session);
	sessions_leave(node->sessions, session);
	return status;
}

static simpler_status open_lane_for_peer(void *context, const struct shm_ask *ask, int socket,
                                         int bells)
{
	struct daemon *daemon = context;

	return shm_lanes_open(daemon->shm_lanes, ask, socket, bells);
}

static simpler_status share_memory(struct daemon *daemon)
{
	const uint32_t lane = UINT32_C(1) << SIMPLER_LANE_SHM;
	struct node *node = &daemon->node;
	struct shm_server_owner owner = { .open = open_for_peer, .context = daemon };
	simpler_status status = SIMPLER_OK;

	node->shm_address = "";
	node->offered_lanes = daemon->options->lanes & ~lane;
	if (!daemon->options->shm)
		return SIMPLER_OK;
	if (daemon->options->lanes & lane) {
		status = shm_lanes_create(node, &daemon->shm_lanes);
		owner.open_lane = open_lane_for_peer;
		node->offered_lanes |= lane;
	}
	if (status == SIMPLER_OK)
		status = shm_server_create(&owner, &daemon->shm);
	if (status == SIMPLER_OK)
		node->shm_address = shm_server_address(daemon->shm);
	return status;
}

/* One that was left to `auto` and is not there is done without. */
static simpler_status open_fabric(struct daemon *daemon)
{
	const uint32_t lane = UINT32_C(1) << SIMPLER_LANE_FABRIC;
	const struct options *options = daemon->options;
	const struct fabric_options fabric = { options->fabric, options->fabric_address };
	simpler_status status;

	daemon->node.offered_lanes &= ~lane;
	if (!options->has_fabric) {
		daemon->node.fabric_why = "the daemon was started without --fabric";
		return SIMPLER_OK;
	}
	status = fabric_ports_create(&fabric, &daemon->node.fabric);
	if (status == SIMPLER_OK) {
		simpler_log(SIMPLER_LOG_INFO,
		            "sessions have their tensors reached by the fabric's "
		            "provider %s at %s",
		            fabric_provider_name(fabric_ports_provider(daemon->node.fabric)),
		            options->fabric_address);
		daemon->node.offered_lanes |= options->lanes & lane;
		return SIMPLER_OK;
	}
	if (options->fabric != FABRIC_ANY || status == SIMPLER_EINVAL)
		return error_context("--fabric");
	(void)snprintf(daemon->fabric_why, sizeof(daemon->fabric_why), "%s",
	               simpler_last_error_step(0));
	daemon->node.fabric_why = daemon->fabric_why;
	simpler_log(SIMPLER_LOG_WARN, "there is no fabric: %s", daemon->fabric_why);
	return SIMPLER_OK;
}

static simpler_status build(struct daemon *daemon)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	simpler_status status;

	choose_node_id(daemon);
	limits_raise_files(); /* a gRPC that finds none for a connection listens no more */
	(void)signal(SIGPIPE, SIG_IGN);
	status = events_signals(signals, sizeof(signals) / sizeof(signals[0]), &daemon->signals);
	if (status == SIMPLER_OK)
		status = events_wakeup(&daemon->node.wakeup);
	if (status == SIMPLER_OK)
		status = process_adopt_orphans();
	if (status == SIMPLER_OK)
		status = build_node(daemon);
	if (status == SIMPLER_OK)
		status = rpc_health_create(answer_health, &daemon->node, &daemon->health);
	if (status == SIMPLER_OK)
		status = share_memory(daemon);
	if (status == SIMPLER_OK)
		status = open_fabric(daemon);
	if (status == SIMPLER_OK)
		status = start_server(daemon);
	if (status == SIMPLER_OK)
		status = engine_client_start(daemon->node.engine);
	return status;
}

/* --- life --- */

static simpler_status announce(struct daemon *daemon)
{
	const char *address = rpc_server_address(daemon->server);
	simpler_status status = SIMPLER_OK;

	if (daemon->options->port_file)
		status = port_file_write(daemon->options->port_file, address);
	if (status != SIMPLER_OK)
		return status;
	daemon->port_file_written = daemon->options->port_file != NULL;
	daemon->life = SERVING;
	simpler_log(SIMPLER_LOG_INFO, "node '%s' serves at %s and takes code by --code %s",
	            daemon->node_id, address, policy_mode_name(daemon->options->code));
	if (printf("ready %s\n", address) < 0 || fflush(stdout) != 0)
		simpler_log(SIMPLER_LOG_WARN, "nobody reads standard output");
	return SIMPLER_OK;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* To those who watch; see node/readiness.h. */
static void tell_readiness(struct daemon *daemon)
{
	struct readiness_report report;

	readiness_report(&daemon->node, &report);
	if (report.stopped != daemon->stopped)
		rpc_health_changed(daemon->health);
	daemon->stopped = report.stopped;
}

static void begin_drain(struct daemon *daemon)
{
	daemon->life = DRAINING;
	atomic_store(&daemon->node.draining, true);
	tell_readiness(daemon);
	daemon->drain_began = clock_now();
	daemon->drain_end = clock_after_ms(daemon->node.drain_grace_ms);
	simpler_log(SIMPLER_LOG_INFO, "draining: %u tasks are running",
	            atomic_load(&daemon->node.running));
}

/* The operator has changed what is allowed. New callables need no word of it, old ones do. */
static void recheck(struct daemon *daemon)
{
	size_t count = catalog_recheck(daemon->node.catalog);

	simpler_log(SIMPLER_LOG_INFO, "SIGHUP: %zu callables are not allowed here any more", count);
}

static void take_stop(struct daemon *daemon)
{
	daemon->hurried = daemon->hurried || daemon->life == DRAINING;
	if (daemon->life != DRAINING)
		begin_drain(daemon);
}

static void take_signals(struct daemon *daemon)
{
	int signal_number;

	while ((signal_number = events_next_signal(daemon->signals)) != 0) {
		if (signal_number == SIGHUP)
			recheck(daemon);
		else if (signal_number == SIGCHLD)
			engine_client_reap(daemon->node.engine);
		else
			take_stop(daemon);
	}
}

/* L3Worker.Drain, which has set `draining` already. */
static void take_drain(struct daemon *daemon)
{
	int64_t until = atomic_load(&daemon->node.drain_until);

	if (until == CLOCK_NEVER)
		return;
	/* Asked for a longer grace than the options have, the first to ask gets it. */
	if (daemon->life != DRAINING) {
		begin_drain(daemon);
		daemon->drain_end = until;
	}
	daemon->drain_end = earlier(daemon->drain_end, until);
}

/* When its clients have heard that it drains, with their heartbeats, and what they have sent before
 * that has come in, to be refused: what a daemon that is gone never answered may have run. */
static int64_t all_told_by(const struct daemon *daemon)
{
	int64_t most = daemon->drain_began + DRAIN_TELL_MS * CLOCK_MS;
	int64_t heard = sessions_hear_by(daemon->node.sessions, daemon->drain_began);

	if (heard == 0)
		return 0;
	return earlier(heard + DRAIN_SETTLE_MS * CLOCK_MS, most);
}

/* When the drain is over by itself; running tasks that end, and heartbeats, wake who waits. */
static int64_t drained_at(const struct daemon *daemon)
{
	if (daemon->life != DRAINING)
		return CLOCK_NEVER;
	if (daemon->hurried)
		return 0;
	if (atomic_load(&daemon->node.running) > 0)
		return daemon->drain_end;
	return earlier(all_told_by(daemon), daemon->drain_end);
}

static void wait_for_events(struct daemon *daemon, int64_t deadline)
{
	struct pollfd fds[3 + ENGINE_CLIENT_FDS + SHM_SERVER_FDS] = {
		{ .fd = daemon->signals, .events = POLLIN },
		{ .fd = daemon->node.wakeup, .events = POLLIN },
		{ .fd = shm_lanes_fd(daemon->shm_lanes), .events = POLLIN },
	};

	engine_client_fds(daemon->node.engine, &fds[3]);
	shm_server_fds(daemon->shm, &fds[3 + ENGINE_CLIENT_FDS]);
	atomic_store(&daemon->node.looks_at, deadline);
	/* Whatever it returns: what there is to do is looked for afterwards. */
	(void)descriptor_poll(fds, sizeof(fds) / sizeof(fds[0]), deadline);
	events_clear(daemon->node.wakeup);
}

/* The first engine must come up; later ones are tried for as long as it takes. */
static simpler_status check_start(struct daemon *daemon)
{
	struct engine_client *engine = daemon->node.engine;
	struct engine_report report;

	if (daemon->life != STARTING)
		return SIMPLER_OK;
	engine_client_report(engine, &report);
	if (report.state == ENGINE_DOWN)
		return error_raise(SIMPLER_EUNAVAILABLE, "%s", report.last_end);
	return engine_client_state(engine) == ENGINE_READY ? announce(daemon) : SIMPLER_OK;
}

/* Segments of sessions that are over, as soon as this thread looks: they have no memory any more.
 */
static void drop_segments(struct node *node)
{
	uint32_t id;

	while ((id = pool_ended_segment(node->pool)) != 0) {
		engine_client_unshare(node->engine, id);
		pool_drop_segment(node->pool, id);
	}
}

static simpler_status live(struct daemon *daemon)
{
	simpler_status status;

	for (;;) {
		int64_t next = engine_client_step(daemon->node.engine);

		status = check_start(daemon);
		tell_readiness(daemon);
		take_signals(daemon);
		take_drain(daemon);
		if (status != SIMPLER_OK || clock_now() >= drained_at(daemon))
			return status;
		atomic_store(&daemon->node.looks_at, CLOCK_NEVER);
		next = earlier(next, shm_server_step(daemon->shm));
		shm_lanes_step(daemon->shm_lanes);
		next = earlier(next, pool_expire(daemon->node.pool));
		next = earlier(next, sessions_expire(daemon->node.sessions));
		/* Before its memory is unmapped. */
		next = earlier(next, fabric_ports_step(daemon->node.fabric));
		drop_segments(&daemon->node);
		next = earlier(next, catalog_expire(daemon->node.catalog));
		next = earlier(next, node_expire_tasks(&daemon->node));
		next = earlier(next, node_expire_imports(&daemon->node));
		next = earlier(next, drained_at(daemon));
		wait_for_events(daemon, next);
	}
}

/* --- death --- */

static void stop_serving(struct daemon *daemon)
{
	uint32_t running = atomic_load(&daemon->node.running);

	atomic_store(&daemon->node.draining, true);
	if (running > 0)
		simpler_log(SIMPLER_LOG_WARN, "%u tasks are still running and are lost", running);
	if (daemon->node.engine)
		engine_client_stop(daemon->node.engine);
	if (daemon->server)
		node_lanes_end(&daemon->node, clock_after_ms(LANES_END_MS));
	if (daemon->health)
		rpc_health_close(daemon->health);
	if (daemon->server)
		rpc_server_stop(daemon->server, clock_after_ms(SERVER_STOP_MS));
	shm_lanes_destroy(daemon->shm_lanes);
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

static void take_apart(struct daemon *daemon)
{
	/* While the address is still taken, so that the file cannot be another daemon's yet. */
	if (daemon->port_file_written)
		(void)unlink(daemon->options->port_file);
	stop_serving(daemon);
	rpc_health_destroy(daemon->health);
	shm_server_destroy(daemon->shm);
	fabric_ports_destroy(daemon->node.fabric);
	daemon->node.fabric = NULL;
	engine_client_destroy(daemon->node.engine);
	dispatch_table_destroy(daemon->node.dispatches);
	peers_destroy(daemon->node.peers);
	node_imports_destroy(daemon->node.imports);
	node_lanes_destroy(daemon->node.lanes);
	task_log_destroy(daemon->node.tasks);
	sessions_destroy(daemon->node.sessions);
	catalog_destroy(daemon->node.catalog);
	policy_destroy(daemon->node.policy);
	pool_destroy(daemon->node.pool);
	if (daemon->arena)
		memory_unmap(daemon->arena, daemon->arena_bytes);
	close_if_open(daemon->arena_fd);
	close_if_open(daemon->node.wakeup);
	close_if_open(daemon->signals);
}

simpler_status daemon_run(const struct options *options)
{
	struct daemon daemon = {
		.options = options, .arena_fd = -1, .signals = -1, .node = { .wakeup = -1 }
	};
	simpler_status status = build(&daemon);
	struct error error;

	if (status == SIMPLER_OK)
		status = live(&daemon);
	error_save(&error);
	take_apart(&daemon);
	if (status == SIMPLER_OK)
		simpler_log(SIMPLER_LOG_INFO, "node '%s' is drained", daemon.node_id);
	return status == SIMPLER_OK ? SIMPLER_OK : error_restore(&error);
}
