/*
 * simpler status: whether a node is ready, why not, and all that this is made of. The exit status
 * is 0 only for one that is ready, so that it can be a probe.
 *
 * What a node says is printed as another machine's word: its control bytes go no further.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

#include "ask.h"
#include "base/clock.h"
#include "base/error.h"
#include "commands.h"
#include "json.h"

const char status_usage[] =
	"Usage: simpler status [--json] [--timeout MS] ADDRESS\n"
	"Ask the node at ADDRESS, host:port, [v6]:port or unix:/path, whether it is ready, and\n"
	"print what it says of its engine, workers, devices, pool, lanes, transports, catalog,\n"
	"queue and sessions. The exit status is 0 when it is ready, and 1 when it is not.\n"
	"\n"
	"  --json        print it as one JSON object\n"
	"  --timeout MS  how long to wait, 1 to 999999999 milliseconds (default 2000)\n";

/* --- for people --- */

static void print_reasons(const struct msg_status *status)
{
	for (uint32_t i = 0; i < status->reason_count; i++) {
		const struct msg_reason *reason = &status->reasons[i];
		uint64_t now = clock_unix_ms();
		uint64_t ago = now > reason->since_unix_ms ? now - reason->since_unix_ms : 0;

		printf("not ready   ");
		print_untrusted(stdout, reason->what);
		printf(", for %.1f s: ", (double)ago / 1000);
		print_untrusted(stdout, reason->why);
		printf("; stops");
		for (uint32_t k = 0; k < reason->service_count; k++) {
			printf(" ");
			print_untrusted(stdout, reason->services[k]);
		}
		printf("\n");
	}
}

static void print_engine(const struct msg_engine_status *engine)
{
	printf("engine      ");
	print_untrusted(stdout, engine->state);
	printf(", pid %" PRIu32 ", %s; %" PRIu32 " functions run, %" PRIu32 " restarts\n",
	       engine->pid, engine->answering ? "answers" : "does not answer", engine->runs,
	       engine->restarts);
	if (!engine->last_end[0])
		return;
	printf("last end    ");
	print_untrusted(stdout, engine->last_end);
	printf("\n");
}

static void print_workers(const struct msg_status *status)
{
	for (uint32_t i = 0; i < status->worker_count; i++) {
		const struct msg_workers_status *workers = &status->workers[i];

		printf("workers     ");
		print_untrusted(stdout, workers->kind);
		printf(": %" PRIu32 ", of which %" PRIu32 " idle, %" PRIu32 " busy, %" PRIu32
		       " restarting, %" PRIu32 " dead; %" PRIu64 " tasks wait, %" PRIu64
		       " deaths\n",
		       workers->count, workers->idle, workers->busy, workers->restarting,
		       workers->dead, workers->queued, workers->deaths);
	}
	for (uint32_t i = 0; i < status->device_count; i++) {
		printf("device      ");
		print_untrusted(stdout, status->devices[i].name);
		printf(": %" PRIu32 ", of which %" PRIu32 " failed%s", status->devices[i].count,
		       status->devices[i].failed, status->devices[i].failed > 0 ? ": " : "");
		print_untrusted(stdout, status->devices[i].error);
		printf("\n");
	}
}

static void print_rooms(const struct msg_status *status)
{
	const struct msg_catalog_status *catalog = &status->catalog;
	const struct msg_pool_status *pool = &status->pool;

	printf("pool        %" PRIu64 " of %" PRIu64 " bytes used, largest gap %" PRIu64
	       "; %" PRIu32 " of %" PRIu32 " handles, %" PRIu32 " of a session; %" PRIu32
	       " of %" PRIu32 " grants, %" PRIu32 " of a session\n",
	       pool->used, pool->capacity, pool->largest_free, pool->handles, pool->max_handles,
	       pool->max_session_handles, pool->grants, pool->max_grants, pool->max_session_grants);
	for (uint32_t i = 0; i < status->lane_count; i++) {
		printf("lane        ");
		print_untrusted(stdout, status->lanes[i].name);
		if (status->lanes[i].available)
			printf(": %" PRIu32 " open\n", status->lanes[i].open);
		else {
			printf(": not available: ");
			print_untrusted(stdout, status->lanes[i].why_not);
			printf("\n");
		}
	}
	for (uint32_t i = 0; i < status->transport_count; i++) {
		const struct msg_transport_status *transport = &status->transports[i];

		printf("transport   ");
		print_untrusted(stdout, transport->name);
		printf("%s", transport->available ? "" : ": not available: ");
		print_untrusted(stdout, transport->why_not);
		if (transport->sessions > 0)
			printf(": %" PRIu32 " sessions", transport->sessions);
		printf("\n");
	}
	printf("catalog     %" PRIu64 " of %" PRIu64 " callables, %" PRIu64 " prepared; %" PRIu64
	       " of %" PRIu64 " modules, %" PRIu64 " in use, %" PRIu64 " of %" PRIu64 " bytes\n",
	       catalog->callables, catalog->max_callables, catalog->prepared, catalog->modules,
	       catalog->max_modules, catalog->modules_in_use, catalog->module_bytes,
	       catalog->max_module_bytes);
	if (catalog->store[0]) {
		printf("store       ");
		print_untrusted(stdout, catalog->store);
		printf("\n");
	}
	printf("queue       %" PRIu32 " of %" PRIu32 " dispatches, %" PRIu32 " of a session\n",
	       status->queue.in_flight, status->queue.limit, status->queue.session_limit);
	printf("sessions    %" PRIu32 " of %" PRIu32 "\n", status->sessions.attached,
	       status->sessions.limit);
}

static void print_text(const struct msg_status *status)
{
	printf("node        ");
	print_untrusted(stdout, status->node_id);
	printf(", boot %016" PRIx64 ", up for %.1f s\n", status->boot_id,
	       (double)status->uptime_ms / 1000);
	printf("version     ");
	print_untrusted(stdout, status->version);
	printf(", wire %" PRIu32 ", callable ABI %" PRIu32 "\n", status->wire_version,
	       status->callable_abi);
	printf("ready       %s\n", status->ready ? "yes" : "no");
	print_reasons(status);
	print_engine(&status->engine);
	print_workers(status);
	print_rooms(status);
}

/* --- for programs; the members are those of the message --- */

static void json_reasons(struct json *json, const struct msg_status *status)
{
	json_open_array(json, "not_ready");
	for (uint32_t i = 0; i < status->reason_count; i++) {
		const struct msg_reason *reason = &status->reasons[i];

		json_open_object(json, NULL);
		json_string(json, "what", reason->what);
		json_string(json, "why", reason->why);
		json_number(json, "since_unix_ms", reason->since_unix_ms);
		json_open_array(json, "services");
		for (uint32_t k = 0; k < reason->service_count; k++)
			json_string(json, NULL, reason->services[k]);
		json_close_array(json);
		json_close_object(json);
	}
	json_close_array(json);
}

static void json_engine(struct json *json, const struct msg_engine_status *engine)
{
	json_open_object(json, "engine");
	json_string(json, "state", engine->state);
	json_number(json, "since_unix_ms", engine->since_unix_ms);
	json_bool(json, "answering", engine->answering);
	json_number(json, "pid", engine->pid);
	json_number(json, "restarts", engine->restarts);
	json_string(json, "last_end", engine->last_end);
	json_number(json, "runs", engine->runs);
	json_close_object(json);
}

static void json_workers(struct json *json, const struct msg_status *status)
{
	json_open_array(json, "workers");
	for (uint32_t i = 0; i < status->worker_count; i++) {
		const struct msg_workers_status *workers = &status->workers[i];

		json_open_object(json, NULL);
		json_string(json, "kind", workers->kind);
		json_number(json, "count", workers->count);
		json_number(json, "idle", workers->idle);
		json_number(json, "busy", workers->busy);
		json_number(json, "restarting", workers->restarting);
		json_number(json, "dead", workers->dead);
		json_number(json, "queued", workers->queued);
		json_number(json, "deaths", workers->deaths);
		json_close_object(json);
	}
	json_close_array(json);
	json_open_array(json, "devices");
	for (uint32_t i = 0; i < status->device_count; i++) {
		json_open_object(json, NULL);
		json_string(json, "name", status->devices[i].name);
		json_number(json, "count", status->devices[i].count);
		json_number(json, "failed", status->devices[i].failed);
		json_string(json, "error", status->devices[i].error);
		json_close_object(json);
	}
	json_close_array(json);
}

static void json_pool(struct json *json, const struct msg_pool_status *pool)
{
	json_open_object(json, "pool");
	json_number(json, "capacity", pool->capacity);
	json_number(json, "used", pool->used);
	json_number(json, "largest_free", pool->largest_free);
	json_number(json, "committed", pool->committed);
	json_number(json, "handles", pool->handles);
	json_number(json, "max_handles", pool->max_handles);
	json_number(json, "max_session_handles", pool->max_session_handles);
	json_number(json, "grants", pool->grants);
	json_number(json, "max_grants", pool->max_grants);
	json_number(json, "max_session_grants", pool->max_session_grants);
	json_close_object(json);
}

static void json_lanes(struct json *json, const struct msg_status *status)
{
	json_open_array(json, "lanes");
	for (uint32_t i = 0; i < status->lane_count; i++) {
		json_open_object(json, NULL);
		json_string(json, "name", status->lanes[i].name);
		json_bool(json, "available", status->lanes[i].available);
		json_string(json, "why_not", status->lanes[i].why_not);
		json_number(json, "open", status->lanes[i].open);
		json_close_object(json);
	}
	json_close_array(json);
}

static void json_transports(struct json *json, const struct msg_status *status)
{
	json_open_array(json, "transports");
	for (uint32_t i = 0; i < status->transport_count; i++) {
		json_open_object(json, NULL);
		json_string(json, "name", status->transports[i].name);
		json_bool(json, "available", status->transports[i].available);
		json_string(json, "why_not", status->transports[i].why_not);
		json_number(json, "sessions", status->transports[i].sessions);
		json_close_object(json);
	}
	json_close_array(json);
}

static void json_catalog(struct json *json, const struct msg_catalog_status *catalog)
{
	json_open_object(json, "catalog");
	json_number(json, "callables", catalog->callables);
	json_number(json, "prepared", catalog->prepared);
	json_number(json, "max_callables", catalog->max_callables);
	json_number(json, "modules", catalog->modules);
	json_number(json, "modules_in_use", catalog->modules_in_use);
	json_number(json, "max_modules", catalog->max_modules);
	json_number(json, "module_bytes", catalog->module_bytes);
	json_number(json, "max_module_bytes", catalog->max_module_bytes);
	json_string(json, "store", catalog->store);
	json_close_object(json);
}

static void json_counters(struct json *json, const struct msg_status *status)
{
	json_open_object(json, "queue");
	json_number(json, "in_flight", status->queue.in_flight);
	json_number(json, "limit", status->queue.limit);
	json_number(json, "session_limit", status->queue.session_limit);
	json_close_object(json);
	json_open_object(json, "sessions");
	json_number(json, "attached", status->sessions.attached);
	json_number(json, "limit", status->sessions.limit);
	json_close_object(json);
}

static void print_json(const struct msg_status *status)
{
	struct json json = { .stream = stdout };

	json_open_object(&json, NULL);
	json_bool(&json, "ready", status->ready);
	json_reasons(&json, status);
	json_string(&json, "node_id", status->node_id);
	json_number(&json, "boot_id", status->boot_id);
	json_string(&json, "version", status->version);
	json_number(&json, "wire_version", status->wire_version);
	json_number(&json, "callable_abi", status->callable_abi);
	json_number(&json, "uptime_ms", status->uptime_ms);
	json_bool(&json, "draining", status->draining);
	json_engine(&json, &status->engine);
	json_workers(&json, status);
	json_pool(&json, &status->pool);
	json_transports(&json, status);
	json_lanes(&json, status);
	json_catalog(&json, &status->catalog);
	json_counters(&json, status);
	json_close_object(&json);
}

/* --- the command --- */

static simpler_status print_answer(const uint8_t *answer, size_t size, bool as_json, bool *ready)
{
	static struct msg_status message; /* some 5 KB */
	struct bump bump;
	simpler_status status;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_status_decode(answer, size, &bump, &message);
	if (status == SIMPLER_OK) {
		(as_json ? print_json : print_text)(&message);
		*ready = message.ready;
	}
	bump_release(&bump);
	return status;
}

static int ask_and_print(const char *address, unsigned timeout_ms, bool as_json)
{
	struct rpc_buffer empty;
	bool ready = false;
	uint8_t *answer;
	size_t size;
	simpler_status status = msg_empty_encode(&empty);

	if (status == SIMPLER_OK)
		status = ask(address, MSG_STATUS, &empty, timeout_ms, &answer, &size);
	if (status == SIMPLER_OK) {
		status = print_answer(answer, size, as_json, &ready);
		free(answer);
	}
	if (status != SIMPLER_OK)
		return complain("status");
	return ready ? EXIT_SUCCESS : EXIT_FAILED;
}

int command_status(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 256 },
		{ "timeout", required_argument, NULL, 257 },
		{ NULL, 0, NULL, 0 },
	};
	unsigned timeout_ms = ASK_TIMEOUT_MS;
	bool as_json = false;
	int found;

	while ((found = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (found != 256 && found != 257)
			return usage_bad_option("status", found, argv);
		if (found == 256)
			as_json = true;
		else
			timeout_ms = usage_timeout(optarg);
		if (timeout_ms == 0)
			return usage_error("status",
			                   "--timeout '%s': expected 1 to 999999999 milliseconds",
			                   optarg);
	}
	if (argc - optind != 1)
		return usage_error("status", "one address is wanted, not %d", argc - optind);
	return ask_and_print(argv[optind], timeout_ms, as_json);
}
