/*
 * The parent of tests/rdma, which runs it in one virtual machine against daemons in both.
 *
 *     rdma_parent MODULE OWN_ADDRESS COMMAND NODE...
 *
 *   graph   tasks with staged tensors of all tags, of sizes up to 4 MiB, on the first node, and the
 *           same with tensors that stay there
 *   bring   a tensor from the first node to the second
 *   lose    one large write to the first node, which is to be lost meanwhile: it has to fail in
 *           time
 *   return  the same, and then the node is to return: tasks whose transport is left open have to
 *           work again
 *
 * Each byte that comes back is compared, and all has to have gone by the fabric that is named, and
 * by nothing else. The last line of a success is "good"; of anything else, the reason.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "simpler/simpler.h"

#define KIB       ((uint64_t)1 << 10)
#define MIB       ((uint64_t)1 << 20)
#define LOST_SIZE (16 * MIB)
#define NODES_MAX 2
#define CALL_MS   40000u
/* How long it may take until what waits for a lost node hears so: heartbeats are for those that are
 * silent, and this machine is slow. */
#define LOST_MS  15000u
#define BACK_MS  30000u
#define PAUSE_MS 200u

struct parent {
	simpler_worker *worker;
	simpler_worker_id nodes[NODES_MAX];
	simpler_transport transport;
	simpler_orch_fn mix, invert;
	/* of a run: */
	simpler_tensor a, b, c;
	simpler_tag b_tag;
};

static void fail(const char *what)
{
	printf("%s: %s\n", what, simpler_last_error());
	exit(EXIT_FAILURE);
}

static void check(simpler_status status, const char *what)
{
	if (status != SIMPLER_OK)
		fail(what);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void make_worker(struct parent *parent, const char *path, const char *own, char **addresses,
                        uint32_t count)
{
	simpler_worker_options options = SIMPLER_WORKER_OPTIONS_INIT;
	simpler_module *module;

	options.connect_timeout_ms = CALL_MS;
	options.fabric = SIMPLER_FABRIC_VERBS;
	options.fabric_address = own;
	check(simpler_worker_create(&options, &parent->worker), "creating the worker");
	for (uint32_t i = 0; i < count; i++)
		check(simpler_worker_add_remote(parent->worker, addresses[i], &parent->nodes[i]),
		      "adding a node");
	check(simpler_module_load(parent->worker, path, &module), "loading the module");
	check(simpler_module_orch_fn(module, "mix", simpler_no_state(), &parent->mix), "mix");
	check(simpler_module_orch_fn(module, "invert", simpler_no_state(), &parent->invert),
	      "invert");
	check(simpler_worker_init(parent->worker), "reaching the nodes");
}

static simpler_tensor_options calls(const struct parent *parent)
{
	simpler_tensor_options options = SIMPLER_TENSOR_OPTIONS_INIT;

	options.timeout_ms = CALL_MS;
	options.transport = parent->transport;
	return options;
}

/* Of `nbytes`, and with other bytes for each salt. */
static simpler_tensor tensor_of(uint64_t nbytes, uint64_t salt)
{
	simpler_tensor tensor;
	uint64_t count = nbytes / sizeof(uint64_t), *at = malloc(nbytes);

	if (!at)
		exit(EXIT_FAILURE);
	for (uint64_t i = 0; i < count; i++)
		at[i] = (i + salt) * UINT64_C(0x9e3779b97f4a7c15);
	check(simpler_tensor_init_1d(&tensor, at, SIMPLER_UINT64, (int64_t)count), "a tensor");
	return tensor;
}

static void expect(bool good, const char *what, uint64_t nbytes)
{
	if (good)
		return;
	printf("%s: wrong bytes, of %" PRIu64 "\n", what, nbytes);
	exit(EXIT_FAILURE);
}

/* --- staged tensors: c = ~(c + 3a + i), in two tasks, the second of which waits for the first ---
 */

static simpler_status submit_two(simpler_orch *orch, const simpler_args *args,
                                 const simpler_config *config, simpler_bytes state)
{
	const struct parent *parent = state.data;
	simpler_submit_options options = SIMPLER_SUBMIT_OPTIONS_INIT;
	simpler_args *task = simpler_args_create();
	simpler_status status;

	(void)args;
	(void)config;
	options.worker = parent->nodes[0];
	(void)simpler_args_add_staged(task, &parent->a, SIMPLER_INPUT, parent->transport);
	(void)simpler_args_add_staged(task, &parent->b, parent->b_tag, parent->transport);
	(void)simpler_args_add_staged(task, &parent->c, SIMPLER_INOUT, parent->transport);
	status = simpler_submit_next_level(orch, parent->mix, task, &options, NULL);
	simpler_args_reset(task);
	(void)simpler_args_add_staged(task, &parent->c, SIMPLER_INOUT, parent->transport);
	if (status == SIMPLER_OK)
		status = simpler_submit_next_level(orch, parent->invert, task, &options, NULL);
	simpler_args_destroy(task);
	return status;
}

static bool staged_are_right(const struct parent *parent, const simpler_tensor *c_before)
{
	const uint64_t *a = parent->a.data, *b = parent->b.data, *c = parent->c.data;
	const uint64_t *before = c_before->data;

	for (uint64_t i = 0; i < simpler_tensor_count(&parent->a); i++) {
		if (b[i] != 3 * a[i] + i || c[i] != ~(before[i] + b[i]))
			return false;
	}
	return true;
}

/* Its outcome, once the bytes of a success have been compared. */
static simpler_status run_staged(struct parent *parent, uint64_t nbytes, simpler_tag b_tag)
{
	simpler_tensor before = tensor_of(nbytes, 3);
	simpler_bytes state = { parent, sizeof(*parent) };
	simpler_status status;

	parent->a = tensor_of(nbytes, 1);
	parent->b = tensor_of(nbytes, 2);
	parent->c = tensor_of(nbytes, 3);
	parent->b_tag = b_tag;
	status = simpler_run(parent->worker, submit_two, NULL, NULL, state);
	expect(status != SIMPLER_OK || staged_are_right(parent, &before), "staged tensors", nbytes);
	free(before.data);
	free(parent->a.data);
	free(parent->b.data);
	free(parent->c.data);
	return status;
}

static void use_staged(struct parent *parent, uint64_t nbytes, simpler_tag b_tag)
{
	check(run_staged(parent, nbytes, b_tag), "a run with staged tensors");
}

/* --- tensors that stay on the node --- */

struct resident {
	struct parent *parent;
	simpler_tensor_handle handle;
	int64_t count;
};

static simpler_status submit_resident(simpler_orch *orch, const simpler_args *args,
                                      const simpler_config *config, simpler_bytes state)
{
	const struct resident *of = state.data;
	simpler_args *task = simpler_args_create();
	simpler_status status;

	(void)args;
	(void)config;
	(void)simpler_args_add_handle(task, of->handle, 0, SIMPLER_UINT64, 1, &of->count,
	                              SIMPLER_INOUT);
	status = simpler_submit_next_level(orch, of->parent->invert, task, NULL, NULL);
	simpler_args_destroy(task);
	return status;
}

static bool are_inverted(const simpler_tensor *of, const simpler_tensor *from)
{
	const uint64_t *at = of->data, *was = from->data;

	for (uint64_t i = 0; i < simpler_tensor_count(of); i++) {
		if (at[i] != ~was[i])
			return false;
	}
	return true;
}

static void use_resident(struct parent *parent, uint64_t nbytes)
{
	simpler_tensor_options options = calls(parent);
	simpler_tensor out = tensor_of(nbytes, 4), in = tensor_of(nbytes, 5);
	struct resident resident = { .parent = parent, .count = out.shape[0] };
	simpler_bytes state = { &resident, sizeof(resident) };

	check(simpler_tensor_alloc(parent->worker, parent->nodes[0], SIMPLER_UINT64, 1,
	                           &resident.count, &options, &resident.handle),
	      "allocating");
	check(simpler_tensor_write(parent->worker, resident.handle, NULL, &out, &options),
	      "writing");
	check(simpler_run(parent->worker, submit_resident, NULL, NULL, state),
	      "a run with a tensor of the node");
	check(simpler_tensor_read(parent->worker, resident.handle, NULL, &in, &options), "reading");
	expect(are_inverted(&in, &out), "a tensor of the node", nbytes);
	check(simpler_tensor_free(parent->worker, resident.handle, &options), "freeing");
	free(out.data);
	free(in.data);
}

static void graph(struct parent *parent)
{
	use_staged(parent, 8, SIMPLER_OUTPUT);
	use_staged(parent, 64 * KIB + 8, SIMPLER_OUTPUT_EXISTING);
	use_staged(parent, 4 * MIB, SIMPLER_OUTPUT);
	use_resident(parent, 4 * MIB);
}

/* --- from node to node --- */

static void bring(struct parent *parent)
{
	simpler_tensor_options options = calls(parent);
	simpler_tensor out = tensor_of(MIB, 6), in = tensor_of(MIB, 7);
	simpler_tensor_handle there, brought;

	check(simpler_tensor_alloc(parent->worker, parent->nodes[0], SIMPLER_UINT64, 1, out.shape,
	                           &options, &there),
	      "allocating");
	check(simpler_tensor_write(parent->worker, there, NULL, &out, &options), "writing");
	check(simpler_tensor_bring(parent->worker, there, parent->nodes[1], &options, &brought),
	      "bringing a tensor");
	check(simpler_tensor_read(parent->worker, brought, NULL, &in, &options), "reading");
	expect(memcmp(in.data, out.data, MIB) == 0, "a tensor that was brought", MIB);
	free(out.data);
	free(in.data);
}

/* --- a node that is lost --- */

static void lose(struct parent *parent)
{
	simpler_tensor_options options = calls(parent);
	simpler_tensor out = tensor_of(LOST_SIZE, 8);
	simpler_tensor_handle there;
	simpler_status status;
	uint64_t start, took;

	check(simpler_tensor_alloc(parent->worker, parent->nodes[0], SIMPLER_UINT64, 1, out.shape,
	                           &options, &there),
	      "allocating");
	printf("writing\n");
	start = now_ms();
	status = simpler_tensor_write(parent->worker, there, NULL, &out, &options);
	took = now_ms() - start;
	printf("after %" PRIu64 " ms: %s\n", took,
	       status == SIMPLER_OK ? "written" : simpler_last_error());
	if (status != SIMPLER_EUNAVAILABLE || took > LOST_MS) {
		printf("the node was lost meanwhile: EUNAVAILABLE within %u ms is wanted, not %s\n",
		       LOST_MS, simpler_status_name(status));
		exit(EXIT_FAILURE);
	}
	free(out.data);
}

static void await_node(struct parent *parent)
{
	static const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000 };
	uint64_t until = now_ms() + BACK_MS;
	simpler_status status;

	while ((status = run_staged(parent, 8, SIMPLER_OUTPUT)) != SIMPLER_OK && now_ms() < until)
		(void)nanosleep(&pause, NULL);
	check(status, "a run on the node that is back");
}

/* --- what went by which way --- */

static void check_traffic(const struct parent *parent, uint32_t node)
{
	simpler_traffic traffic = SIMPLER_TRAFFIC_INIT;

	check(simpler_worker_traffic(parent->worker, parent->nodes[node], &traffic), "counters");
	printf("node %u: by the fabric %" PRIu64 " bytes sent and %" PRIu64
	       " received, by the stream %" PRIu64 " and %" PRIu64 "\n",
	       node, traffic.fabric.sent, traffic.fabric.received, traffic.stream.sent,
	       traffic.stream.received);
	if (parent->transport == SIMPLER_TRANSPORT_AUTO)
		return;
	if (traffic.fabric.sent + traffic.fabric.received == 0 ||
	    traffic.stream.sent + traffic.stream.received + traffic.inlined.sent > 0) {
		printf("all was to go by the fabric\n");
		exit(EXIT_FAILURE);
	}
}

int main(int argc, char **argv)
{
	static struct parent parent = { .transport = SIMPLER_TRANSPORT_FABRIC };
	uint32_t nodes = (uint32_t)argc - 4;

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 5 || nodes > NODES_MAX)
		return EXIT_FAILURE;
	make_worker(&parent, argv[1], argv[2], argv + 4, nodes);
	if (strcmp(argv[3], "graph") == 0) {
		graph(&parent);
	} else if (strcmp(argv[3], "bring") == 0) {
		bring(&parent);
	} else if (strcmp(argv[3], "lose") == 0) {
		lose(&parent);
	} else if (strcmp(argv[3], "return") == 0) {
		lose(&parent);
		parent.transport = SIMPLER_TRANSPORT_AUTO;
		await_node(&parent);
	} else {
		return EXIT_FAILURE;
	}
	for (uint32_t i = 0; i < nodes && strcmp(argv[3], "lose") != 0; i++)
		check_traffic(&parent, i);
	simpler_worker_close(parent.worker);
	printf("good\n");
	return EXIT_SUCCESS;
}
