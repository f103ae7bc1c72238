/*
 * The parent of the chaos suite: runs random graphs on its nodes and on children of this machine,
 * one after the other, while the controller (tests/chaos/chaos) breaks what it can of all of them.
 *
 *     chaos_parent MODULE SEED RUNS NODE NODE NODE
 *
 * A NODE is ADDRESS[,LANE[,TRANSPORT]...]: dispatches go there by this lane, and staged tensors by
 * one of the transports, drawn for each task that goes there and nowhere else; the others go by
 * "auto". CHAOS_FABRIC of the environment is this machine's address of a fabric, if there is to be
 * one.
 *
 * A run has CHAOS_RUN_MS of the environment, or six seconds. RUNS 0 means until standard input says
 * so, by a line or by its end. With another number, as many; before them all of each node's pool
 * has to be there to be taken, for nobody else has anything. It prints a line for each thing that
 * the controller is to judge: "made" and "ready" around its start, "init STATUS TEXT", "run N
 * STATUS TEXT", "fill STATUS TEXT", "churn STATUS TEXT", "store STATUS TEXT", "pool STATUS TEXT",
 * "cancel N", "lanes LANE LANE LANE" whenever one has changed and, last, "carried WHAT COUNT" for
 * each lane that dispatches and each transport that bytes went by, and "end". A result that differs
 * from the serial evaluation, or a run that does not end in its time, ends it with another status
 * and a line "wrong" or "late".
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chaos_graph.h"
#include "simpler/simpler.h"

#define RUN_MS      6000u
#define GRACE_MS    300u
#define SESSION_MS  1000u
#define CALL_MS     2000u
#define LATE_MS     25000u /* a run and a grace period for each level, and a machine that is busy */
#define PINGS       10u
#define PAUSE_MS    20 /* after a failure, so that its cause may pass */
#define FILL_BLOCK  (1 << 17)
#define FILL_BLOCKS 256u
#define POOL_BLOCKS 32u /* as the controller has the daemons make it */
#define POOL_TRIES  100u
#define EXIT_WRONG  3
#define EXIT_LATE   4
#define LANES       (SIMPLER_LANE_FABRIC + 1)
#define TRANSPORTS  (SIMPLER_TRANSPORT_FABRIC + 1)

struct node {
	simpler_worker_id id;
	uint32_t choices; /* of transports that staged tensors go by; 0: "auto" is the only one */
	simpler_transport choice[TRANSPORTS];
	simpler_traffic traffic; /* when it was looked at last */
};

struct parent {
	simpler_worker *worker;
	simpler_module *module;
	struct node nodes[CHAOS_NODES];
	simpler_worker_id local;
	uint64_t carried[LANES]; /* dispatches */
	simpler_sub sub;
	simpler_orch_fn orch[CHAOS_KINDS]; /* CHAOS_SUB has none */
	simpler_orch_fn failing;
	bool soaks;
	simpler_tensor here[CHAOS_HERE];
	simpler_tensor_handle there[CHAOS_NODES];
	uint64_t random, run_ms;
	struct chaos_graph graph;
};

/* One line: the reason's outermost and innermost step. */
static void tell(const char *what, simpler_status status)
{
	const char *cause = status == SIMPLER_OK ? "" : simpler_last_error_step(0);

	printf("%s %s %s\n", what, simpler_status_name(status), cause ? cause : "");
}

static void check(simpler_status status, const char *what)
{
	if (status == SIMPLER_OK)
		return;
	fprintf(stderr, "chaos_parent: %s: %s\n", what, simpler_last_error());
	exit(EXIT_FAILURE);
}

static const char *const transport_names[TRANSPORTS] = {
	[SIMPLER_TRANSPORT_AUTO] = "auto",
	[SIMPLER_TRANSPORT_STREAM] = "stream",
	[SIMPLER_TRANSPORT_SHM] = "shm",
	[SIMPLER_TRANSPORT_FABRIC] = "fabric",
};

/* --- making the worker --- */

static void register_all(struct parent *parent)
{
	static const char *const names[] = {
		[CHAOS_MIX] = "mix_here",
		[CHAOS_BY_SUB] = "mix_by_sub",
		[CHAOS_BY_CHIP] = "mix_by_chip",
		[CHAOS_DEEP] = "mix_deep",
	};

	check(simpler_module_sub(parent->module, "mix_sub", simpler_no_state(), &parent->sub),
	      "mix_sub");
	for (int kind = CHAOS_MIX; kind < CHAOS_KINDS; kind++)
		check(simpler_module_orch_fn(parent->module, names[kind], simpler_no_state(),
		                             &parent->orch[kind]),
		      names[kind]);
	check(simpler_module_orch_fn(parent->module, "mix_fail", simpler_no_state(),
	                             &parent->failing),
	      "mix_fail");
}

static simpler_lane lane_of(const char *name)
{
	for (simpler_lane lane = SIMPLER_LANE_AUTO; lane < LANES; lane++) {
		if (strcmp(name, simpler_lane_name(lane)) == 0)
			return lane;
	}
	fprintf(stderr, "chaos_parent: '%s' is no lane\n", name);
	exit(EXIT_FAILURE);
}

static simpler_transport transport_of(const char *name)
{
	for (simpler_transport each = SIMPLER_TRANSPORT_AUTO; each < TRANSPORTS; each++) {
		if (strcmp(name, transport_names[each]) == 0)
			return each;
	}
	fprintf(stderr, "chaos_parent: '%s' is no transport\n", name);
	exit(EXIT_FAILURE);
}

/* `text` is cut up. */
static void add_node(simpler_worker *worker, char *text, struct node *node)
{
	simpler_node_options options = SIMPLER_NODE_OPTIONS_INIT;
	char *rest = NULL, *address = strtok_r(text, ",", &rest),
	     *name = strtok_r(NULL, ",", &rest);

	if (name)
		options.lane = lane_of(name);
	while (node->choices < TRANSPORTS && (name = strtok_r(NULL, ",", &rest)) != NULL)
		node->choice[node->choices++] = transport_of(name);
	check(simpler_worker_add_remote_with(worker, address, &options, &node->id),
	      "adding a node");
}

static void make_worker(struct parent *parent, const char *module, char **nodes)
{
	const char *fabric = getenv("CHAOS_FABRIC");
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_local_options local = SIMPLER_LOCAL_OPTIONS_INIT;
	int64_t count = 1 << 12;

	options.stop_grace_ms = GRACE_MS;
	options.session_ttl_ms = SESSION_MS;
	options.heap_bytes = 64 << 20;
	if (fabric) {
		options.fabric = SIMPLER_FABRIC_TCP;
		options.fabric_address = fabric;
	}
	local.sub_workers = 1;
	local.chips = 1;
	local.heap_bytes = 64 << 20;
	check(simpler_worker_create(&options, &parent->worker), "creating the worker");
	check(simpler_worker_add_subs(parent->worker, 2, NULL), "adding sub workers");
	check(simpler_worker_add_local(parent->worker, &local, &parent->local), "adding a worker");
	for (uint32_t i = 0; i < CHAOS_NODES; i++)
		add_node(parent->worker, nodes[i], &parent->nodes[i]);
	check(simpler_module_load(parent->worker, module, &parent->module), "loading the module");
	register_all(parent);
	for (uint32_t i = 0; i < CHAOS_HERE; i++)
		check(simpler_alloc(parent->worker, SIMPLER_INT64, 1, &count, &parent->here[i]),
		      "allocating");
}

/* --- submitting --- */

static simpler_transport choose(const struct parent *parent, uint32_t node, uint32_t drawn)
{
	const struct node *of = node < CHAOS_NODES ? &parent->nodes[node] : NULL;

	return of && of->choices > 0 ? of->choice[drawn % of->choices] : SIMPLER_TRANSPORT_AUTO;
}

static void add(const struct parent *parent, const struct chaos_step *step, simpler_args *args,
                uint32_t tensor, simpler_tag tag)
{
	int64_t count = (int64_t)parent->graph.count;
	simpler_backing backing = step->kind == CHAOS_SUB ? SIMPLER_SHARED
	                          : step->inlined         ? SIMPLER_INLINE
	                                                  : SIMPLER_STAGED;
	simpler_tensor view;

	if (tensor >= CHAOS_HERE) {
		(void)simpler_args_add_handle(args, parent->there[tensor - CHAOS_HERE], 0,
		                              SIMPLER_INT64, 1, &count, tag);
		return;
	}
	check(simpler_tensor_init_1d(&view, parent->here[tensor].data, SIMPLER_INT64, count),
	      "a view");
	if (backing == SIMPLER_STAGED)
		(void)simpler_args_add_staged(args, &view, tag,
		                              choose(parent, step->where, step->transport));
	else
		(void)simpler_args_add_tensor(args, &view, tag, backing);
}

static simpler_status submit(simpler_orch *orch, const struct parent *parent,
                             const struct chaos_step *step)
{
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_args *args = simpler_args_create();
	simpler_status status;

	add(parent, step, args, step->a, SIMPLER_INPUT);
	add(parent, step, args, step->b, SIMPLER_INPUT);
	add(parent, step, args, step->out, step->keep ? SIMPLER_INOUT : SIMPLER_OUTPUT);
	(void)simpler_args_add_scalar(args, step->salt);
	(void)simpler_args_add_scalar(args, step->keep);
	if (step->where != CHAOS_ANY)
		options.worker =
			step->where == CHAOS_LOCAL ? parent->local : parent->nodes[step->where].id;
	if (step->kind == CHAOS_SUB)
		status = simpler_submit_sub(orch, parent->sub, args, &options, NULL);
	else
		status = simpler_submit_next_level(orch, parent->orch[step->kind], args, &options,
		                                   NULL);
	simpler_args_destroy(args);
	return status;
}

static simpler_status submit_graph(simpler_orch *orch, const simpler_args *args,
                                   const simpler_config *config, simpler_bytes state)
{
	const struct parent *parent = *(struct parent *const *)state.data;
	simpler_status status = SIMPLER_OK;

	(void)args;
	(void)config;
	for (uint32_t i = 0; i < parent->graph.steps && status == SIMPLER_OK; i++)
		status = submit(orch, parent, &parent->graph.step[i]);
	return status;
}

/* --- one run --- */

static simpler_tensor local_view(int64_t *data, uint64_t count)
{
	simpler_tensor view;

	check(simpler_tensor_init_1d(&view, data, SIMPLER_INT64, (int64_t)count), "a view");
	return view;
}

/* Storage on each node, with what the tensors begin with. False when a node would not. */
static bool store(struct parent *parent, int64_t *const tensors[CHAOS_TENSORS])
{
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	int64_t count = (int64_t)parent->graph.count;
	simpler_status status = SIMPLER_OK;

	options.timeout_ms = CALL_MS;
	memset(parent->there, 0, sizeof(parent->there));
	for (uint32_t i = 0; i < CHAOS_NODES && status == SIMPLER_OK; i++) {
		simpler_tensor from = local_view(tensors[CHAOS_HERE + i], parent->graph.count);

		status = simpler_tensor_alloc(parent->worker, parent->nodes[i].id, SIMPLER_INT64, 1,
		                              &count, &options, &parent->there[i]);
		options.transport = choose(parent, i, parent->graph.steps);
		if (status == SIMPLER_OK)
			status = simpler_tensor_write(parent->worker, parent->there[i], NULL, &from,
			                              &options);
	}
	if (status != SIMPLER_OK)
		tell("store", status);
	return status == SIMPLER_OK;
}

static void give_back(struct parent *parent)
{
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_tensor_handle none;

	memset(&none, 0, sizeof(none));
	options.timeout_ms = CALL_MS;
	for (uint32_t i = 0; i < CHAOS_NODES; i++) {
		if (memcmp(&parent->there[i], &none, sizeof(none)) != 0)
			(void)simpler_tensor_free(parent->worker, parent->there[i], &options);
	}
}

/* All of a node's pool, or what is left of it. Returns in how many blocks. */
static uint32_t fill_pool(struct parent *parent, uint32_t of, simpler_tensor_handle *blocks,
                          simpler_status *end)
{
	simpler_worker_id node = parent->nodes[of].id;
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_status status = SIMPLER_OK;
	int64_t count = FILL_BLOCK;
	uint32_t taken = 0;

	options.timeout_ms = CALL_MS;
	while (taken < FILL_BLOCKS && status == SIMPLER_OK) {
		status = simpler_tensor_alloc(parent->worker, node, SIMPLER_INT64, 1, &count,
		                              &options, &blocks[taken]);
		taken += status == SIMPLER_OK;
	}
	*end = status;
	return taken;
}

static void empty_pool(struct parent *parent, const simpler_tensor_handle *blocks, uint32_t taken)
{
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;

	options.timeout_ms = CALL_MS;
	while (taken > 0)
		(void)simpler_tensor_free(parent->worker, blocks[--taken], &options);
}

/* A callable comes and goes beside the run. */
static void churn(struct parent *parent)
{
	uint64_t captured = chaos_draw(&parent->random);
	simpler_orch_fn handle;
	simpler_status status =
		simpler_module_orch_fn(parent->module, "mix_here",
	                               (simpler_bytes){ &captured, sizeof(captured) }, &handle);

	tell("churn", status);
	if (status == SIMPLER_OK)
		tell("churn", simpler_unregister_orch_fn(parent->worker, handle, CALL_MS));
}

static simpler_status run_graph(struct parent *parent, uint32_t number)
{
	simpler_run_options options = SIMPLER_RUN_OPTIONS_INIT;
	bool cancel = chaos_draw(&parent->random) % 16 == 0;
	const struct parent *captured = parent;
	simpler_completion *completion;
	simpler_status status;

	options.timeout_ms = parent->run_ms;
	check(simpler_run_async(parent->worker, submit_graph, NULL, &options,
	                        (simpler_bytes){ &captured, sizeof(captured) }, &completion),
	      "beginning a run");
	if (chaos_draw(&parent->random) % 4 == 0)
		churn(parent);
	if (cancel) {
		printf("cancel %" PRIu32 "\n", number);
		simpler_completion_cancel(completion);
	}
	if (!simpler_completion_wait(completion, LATE_MS)) {
		printf("late %" PRIu32 "\n", number);
		_exit(EXIT_LATE); /* the controller looks at what it left */
	}
	status = simpler_completion_result(completion);
	check(simpler_completion_destroy(completion), "a completion");
	return status;
}

/* What the nodes hold comes to `got`, behind what is here. */
static simpler_status fetch(struct parent *parent, int64_t *got)
{
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;
	simpler_status status = SIMPLER_OK;

	options.timeout_ms = CALL_MS;
	for (uint32_t i = 0; i < CHAOS_NODES && status == SIMPLER_OK; i++) {
		simpler_tensor to = local_view(got + i * parent->graph.count, parent->graph.count);

		options.transport = choose(parent, i, parent->graph.steps);
		status = simpler_tensor_read(parent->worker, parent->there[i], NULL, &to, &options);
	}
	return status;
}

static void compare(const struct parent *parent, uint32_t number, const int64_t *is,
                    const int64_t *is_to_be, uint32_t tensor)
{
	for (uint64_t i = 0; i < parent->graph.count; i++) {
		if (is[i] == is_to_be[i])
			continue;
		printf("wrong %" PRIu32 " tensor %" PRIu32 " element %" PRIu64 " of %" PRIu64 "\n",
		       number, tensor, i, parent->graph.count);
		_exit(EXIT_WRONG);
	}
}

/* Run it on tensors that begin anew, and compare if it went well. */
static simpler_status run_and_compare(struct parent *parent, uint32_t number, int64_t *memory)
{
	uint64_t count = parent->graph.count;
	int64_t *expected[CHAOS_TENSORS], *scratch = memory + CHAOS_TENSORS * count;
	int64_t *got = scratch + count;
	simpler_status status;

	for (uint32_t i = 0; i < CHAOS_TENSORS; i++) {
		expected[i] = memory + i * count;
		chaos_fill(expected[i], count, i);
		if (i < CHAOS_HERE)
			memcpy(parent->here[i].data, expected[i], count * sizeof(int64_t));
	}
	if (!store(parent, expected)) {
		status = simpler_last_status();
	} else {
		status = run_graph(parent, number);
		if (status == SIMPLER_OK)
			status = fetch(parent, got);
	}
	if (status == SIMPLER_OK) {
		chaos_graph_evaluate(&parent->graph, expected, scratch);
		for (uint32_t i = 0; i < CHAOS_TENSORS; i++)
			compare(parent, number,
			        i < CHAOS_HERE ? parent->here[i].data
			                       : got + (i - CHAOS_HERE) * count,
			        expected[i], i);
	}
	return status;
}

static simpler_status one_run(struct parent *parent, uint32_t number)
{
	static simpler_tensor_handle blocks[FILL_BLOCKS];
	uint32_t taken = 0;
	simpler_status status;
	int64_t *memory;
	char name[32];

	chaos_graph_draw(&parent->graph, &parent->random);
	if (chaos_draw(&parent->random) % 8 == 0) {
		taken = fill_pool(parent, (uint32_t)(chaos_draw(&parent->random) % CHAOS_NODES),
		                  blocks, &status);
		tell("fill", status);
	}
	memory = calloc(CHAOS_TENSORS + 1 + CHAOS_NODES, parent->graph.count * sizeof(int64_t));
	if (!memory)
		exit(EXIT_FAILURE);
	status = run_and_compare(parent, number, memory);
	(void)snprintf(name, sizeof(name), "run %" PRIu32, number);
	tell(name, status);
	give_back(parent);
	empty_pool(parent, blocks, taken);
	free(memory);
	return status;
}

/* --- what carried it --- */

static void look_at(struct parent *parent, struct node *node)
{
	simpler_traffic before = node->traffic, *now = &node->traffic;

	*now = (simpler_traffic)SIMPLER_TRAFFIC_INIT;
	check(simpler_worker_traffic(parent->worker, node->id, now), "traffic");
	parent->carried[SIMPLER_LANE_UNARY] += now->dispatches - now->lane_dispatches -
	                                       (before.dispatches - before.lane_dispatches);
	/* One that is lost, or changed, meanwhile is not known to have carried it. */
	if (now->lane == before.lane && now->lane_losses == before.lane_losses)
		parent->carried[now->lane] += now->lane_dispatches - before.lane_dispatches;
}

static void look_at_nodes(struct parent *parent)
{
	bool changed = false;

	for (uint32_t i = 0; i < CHAOS_NODES; i++) {
		simpler_lane before = parent->nodes[i].traffic.lane;

		look_at(parent, &parent->nodes[i]);
		changed = changed || parent->nodes[i].traffic.lane != before;
	}
	if (changed)
		printf("lanes %s %s %s\n", simpler_lane_name(parent->nodes[0].traffic.lane),
		       simpler_lane_name(parent->nodes[1].traffic.lane),
		       simpler_lane_name(parent->nodes[2].traffic.lane));
}

static uint64_t moved(const simpler_tensor_traffic *traffic)
{
	return traffic->sent + traffic->received;
}

static void tell_carried(const struct parent *parent)
{
	uint64_t bytes[TRANSPORTS] = { 0 };

	for (uint32_t i = 0; i < CHAOS_NODES; i++) {
		const simpler_traffic *traffic = &parent->nodes[i].traffic;

		bytes[SIMPLER_TRANSPORT_STREAM] += moved(&traffic->stream);
		bytes[SIMPLER_TRANSPORT_SHM] += moved(&traffic->shm);
		bytes[SIMPLER_TRANSPORT_FABRIC] += moved(&traffic->fabric);
	}
	for (simpler_lane lane = SIMPLER_LANE_UNARY; lane < LANES; lane++)
		printf("carried lane-%s %" PRIu64 "\n", simpler_lane_name(lane),
		       parent->carried[lane]);
	for (simpler_transport each = SIMPLER_TRANSPORT_STREAM; each < TRANSPORTS; each++)
		printf("carried transport-%s %" PRIu64 "\n", transport_names[each], bytes[each]);
}

/* --- for the soak --- */

static simpler_status submit_failing(simpler_orch *orch, const simpler_args *args,
                                     const simpler_config *config, simpler_bytes state)
{
	const struct parent *parent = *(struct parent *const *)state.data;

	(void)args;
	(void)config;
	return simpler_submit_next_level(orch, parent->failing, NULL, NULL, NULL);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* How long small dispatches take: graphs of one step. Then a task that fails. */
static void ping(struct parent *parent)
{
	const struct parent *captured = parent;
	simpler_bytes state = { &captured, sizeof(captured) };

	parent->graph.count = 1;
	parent->graph.steps = 1;
	parent->graph.step[0] = (struct chaos_step){ .kind = CHAOS_MIX, .b = 1, .out = 2 };
	parent->graph.step[0].inlined = true;
	for (uint32_t i = 0; i < PINGS; i++) {
		uint64_t began = now_ns();
		simpler_status status;

		parent->graph.step[0].where = i % CHAOS_NODES;
		status = simpler_run(parent->worker, submit_graph, NULL, NULL, state);
		if (status == SIMPLER_OK)
			printf("ping %" PRIu64 "\n", now_ns() - began);
		else
			tell("small", status);
	}
	tell("failing", simpler_run(parent->worker, submit_failing, NULL, NULL, state));
}

/* Whether the controller said to stop; after a failure waits a moment for that. */
static bool is_over(int timeout_ms)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&input, 1, timeout_ms) > 0;
}

/* What others had there goes with their sessions, so it may take as long as those live. */
static void find_pools_empty(struct parent *parent)
{
	static simpler_tensor_handle blocks[FILL_BLOCKS];
	simpler_status status = SIMPLER_OK;
	uint32_t taken;

	for (uint32_t node = 0; node < CHAOS_NODES; node++) {
		uint32_t tries = 0;

		do {
			taken = fill_pool(parent, node, blocks, &status);
			empty_pool(parent, blocks, taken);
		} while (status == SIMPLER_ENOSPACE && taken < POOL_BLOCKS &&
		         ++tries < POOL_TRIES && !is_over(SESSION_MS / 10));
		if (taken < POOL_BLOCKS)
			tell("pool", status);
	}
}

int main(int argc, char **argv)
{
	static struct parent parent;
	uint32_t runs, number = 0;
	simpler_status status;

	if (argc != 4 + (int)CHAOS_NODES)
		return EXIT_FAILURE;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	parent.random = (strtoull(argv[2], NULL, 0) + 1) * UINT64_C(0x9e3779b97f4a7c15);
	if (parent.random == 0)
		parent.random = 1;
	parent.run_ms = getenv("CHAOS_RUN_MS") ? strtoull(getenv("CHAOS_RUN_MS"), NULL, 0) : RUN_MS;
	parent.soaks = getenv("CHAOS_SOAK") != NULL;
	runs = (uint32_t)strtoul(argv[3], NULL, 0);
	make_worker(&parent, argv[1], argv + 4);
	printf("made\n");
	status = simpler_worker_init(parent.worker);
	tell("init", status);
	if (status == SIMPLER_OK) {
		look_at_nodes(&parent);
		printf("ready\n");
	}
	if (status == SIMPLER_OK && runs > 0)
		find_pools_empty(&parent);
	while (status == SIMPLER_OK && (runs == 0 || number < runs)) {
		bool good = one_run(&parent, number++) == SIMPLER_OK;

		look_at_nodes(&parent);
		if (parent.soaks)
			ping(&parent);
		if (runs == 0 && is_over(good ? 0 : PAUSE_MS))
			break;
	}
	/* Nor has this one left anything, cancelled runs and all. */
	if (status == SIMPLER_OK && parent.soaks)
		find_pools_empty(&parent);
	if (status == SIMPLER_OK)
		tell_carried(&parent);
	simpler_worker_close(parent.worker);
	printf("end\n");
	return EXIT_SUCCESS;
}
