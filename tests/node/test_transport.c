/*
 * One suite over everything that moves bytes: the stream, the shared memory and the fabric of a
 * daemon, and a
 * fake that delays, moves in pieces, and fails when it is told to.
 */
#include "front_end.h"

#include <stdlib.h>
#include <time.h>

#include "transport/transport.h"
#include "wire/shm.h"

#define MIB     ((size_t)1 << 20)
#define SESSION 0x7e57u

struct rig {
	struct front_end *front_end;
	struct rpc_channel *channel;
	char shm_address[MSG_SHM_ADDRESS_MAX + 1];
	struct fabric *fabric; /* NULL: there is none on this machine */
	struct fabric_address endpoint;
};

struct subject {
	const char *name;
	struct transport *transport;
	struct transport_storage (*store)(const struct rig *rig, uint64_t nbytes);
};

/* --- the fake --- */

struct fake {
	struct transport transport;
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	bool closing, fails;
	struct transport_move *queue[16];
	unsigned count;
	pthread_t thread;
};

static uint8_t *fake_memory(const struct transport_storage *storage)
{
	return (uint8_t *)(uintptr_t)storage->handle.handle_id;
}

static bool fake_reaches(struct transport *transport, const struct transport_storage *storage)
{
	(void)transport;
	return strcmp(storage->handle.transport, "fake") == 0;
}

/* In pieces of three bytes, so that it is cut anywhere. */
static void fake_move(struct fake *fake, struct transport_move *move)
{
	_Atomic uint64_t *counter = move->write ? &fake->transport.sent : &fake->transport.received;

	for (uint64_t i = 0; i < move->span.runs; i++) {
		uint8_t *there =
			fake_memory(move->storage) + move->span.offset + i * move->span.pitch;

		for (uint64_t at = 0, size; at < move->span.run_bytes; at += size) {
			size = move->span.run_bytes - at < 3 ? move->span.run_bytes - at : 3;
			if (move->write)
				transport_gather(move, there + at, size);
			else
				transport_scatter(move, there + at, size);
			atomic_fetch_add(counter, size);
		}
	}
}

static void *fake_main(void *context)
{
	struct fake *fake = context;
	struct error error;

	pthread_mutex_lock(&fake->lock);
	for (;;) {
		struct transport_move *move;
		bool fails;

		while (fake->count == 0 && !fake->closing)
			pthread_cond_wait(&fake->changed, &fake->lock);
		if (fake->count == 0)
			break;
		move = fake->queue[--fake->count];
		fails = fake->fails;
		pthread_mutex_unlock(&fake->lock);
		if (atomic_load(&move->cancelled))
			error_init(&error, SIMPLER_ECANCELLED, "cancelled");
		else if (fails)
			error_init(&error, SIMPLER_EUNAVAILABLE, "the fake fails");
		else
			fake_move(fake, move);
		move->done(move, atomic_load(&move->cancelled) || fails ? &error : NULL);
		pthread_mutex_lock(&fake->lock);
	}
	pthread_mutex_unlock(&fake->lock);
	return NULL;
}

static void fake_start(struct transport *transport, struct transport_move *move)
{
	struct fake *fake = (struct fake *)transport;

	pthread_mutex_lock(&fake->lock);
	fake->queue[fake->count++] = move;
	pthread_cond_signal(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}

/* Before the thread has it, or without effect: the look at it and the error are one moment apart.
 */
static void fake_cancel(struct transport *transport, struct transport_move *move, bool lost)
{
	struct fake *fake = (struct fake *)transport;

	(void)lost;
	pthread_mutex_lock(&fake->lock);
	for (unsigned i = 0; i < fake->count; i++) {
		if (fake->queue[i] == move)
			atomic_store(&move->cancelled, true);
	}
	pthread_mutex_unlock(&fake->lock);
}

static void fake_close(struct transport *transport)
{
	struct fake *fake = (struct fake *)transport;

	pthread_mutex_lock(&fake->lock);
	fake->closing = true;
	pthread_cond_signal(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
	pthread_join(fake->thread, NULL);
	pthread_mutex_destroy(&fake->lock);
	pthread_cond_destroy(&fake->changed);
	free(fake);
}

static const struct transport_ops fake_ops = { "fake", fake_reaches, fake_start, fake_cancel,
	                                       fake_close };

static struct transport *fake_create(void)
{
	struct fake *fake = calloc(1, sizeof(*fake));

	assert_non_null(fake);
	fake->transport.ops = &fake_ops;
	pthread_mutex_init(&fake->lock, NULL);
	pthread_cond_init(&fake->changed, NULL);
	assert_int_equal(pthread_create(&fake->thread, NULL, fake_main, fake), 0);
	return &fake->transport;
}

static uint8_t fake_arena[8 * MIB];

static struct transport_storage fake_store(const struct rig *rig, uint64_t nbytes)
{
	struct transport_storage storage = { .handle = { .nbytes = nbytes } };

	(void)rig;
	assert_in_range(nbytes, 0, sizeof(fake_arena));
	memset(fake_arena, 0, sizeof(fake_arena));
	storage.handle.handle_id = (uintptr_t)fake_arena;
	memcpy(storage.handle.transport, "fake", 5);
	return storage;
}

/* --- a daemon --- */

static struct transport_storage node_store(const struct rig *rig, uint64_t nbytes)
{
	const struct msg_alloc alloc = { .nbytes = nbytes };
	struct transport_storage storage;
	struct msg_handle handle;
	struct rpc_buffer buffer;
	struct bump bump;
	uint8_t *answer;
	size_t size;

	assert_int_equal(msg_alloc_encode(&alloc, &buffer), SIMPLER_OK);
	assert_int_equal(rpc_unary_wait(rig->channel, MSG_ALLOC_TENSOR, clock_after_ms(30000), true,
	                                &buffer, &answer, &size),
	                 SIMPLER_OK);
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_handle_decode(answer, size, &bump, &handle), SIMPLER_OK);
	memset(&storage, 0, sizeof(storage));
	transport_storage_take(&storage, &handle);
	/* They are in `desc` and `also`, wherever that is copied. */
	storage.handle.transport_desc.data = storage.handle.also_desc.data = NULL;
	bump_release(&bump);
	free(answer);
	return storage;
}

static void attach(struct rig *rig)
{
	const struct msg_attach message = { .ttl_ms = 0 };
	struct msg_attached attached;
	struct rpc_buffer buffer;
	struct bump bump;
	uint8_t *answer;
	size_t size;

	assert_int_equal(msg_attach_encode(&message, &buffer), SIMPLER_OK);
	assert_int_equal(rpc_unary_wait(rig->channel, MSG_ATTACH, clock_after_ms(30000), true,
	                                &buffer, &answer, &size),
	                 SIMPLER_OK);
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_attached_decode(answer, size, &bump, &attached), SIMPLER_OK);
	memcpy(rig->shm_address, attached.shm_address, sizeof(rig->shm_address));
	bump_release(&bump);
	free(answer);
}

static struct rig rig;
static struct subject subjects[4];
static size_t subject_count = 3;

/* Where there is no provider, three are left, and that is said. */
static void join_fabric(void)
{
	const struct fabric_options options = { FABRIC_TCP, "127.0.0.1" };
	const struct msg_fabric message = { .provider = "tcp" };
	struct msg_fabric_joined joined;
	struct rpc_buffer buffer;
	struct bump bump;
	uint8_t *answer;
	size_t size;

	if (fabric_open(&options, &rig.fabric) != SIMPLER_OK) {
		print_message("the fabric is not tried: %s\n", simpler_last_error());
		return;
	}
	assert_int_equal(msg_fabric_encode(&message, &buffer), SIMPLER_OK);
	if (rpc_unary_wait(rig.channel, MSG_JOIN_FABRIC, clock_after_ms(30000), true, &buffer,
	                   &answer, &size) != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	assert_int_equal(msg_fabric_joined_decode(answer, size, &bump, &joined), SIMPLER_OK);
	rig.endpoint.size = (uint8_t)joined.address.size;
	memcpy(rig.endpoint.bytes, joined.address.data, joined.address.size);
	bump_release(&bump);
	free(answer);
	subjects[3] = (struct subject){ .name = "fabric", .store = node_store };
	assert_int_equal(fabric_transport_create(rig.fabric, &rig.endpoint, &subjects[3].transport),
	                 SIMPLER_OK);
	subject_count = 4;
}

static int start(void **state)
{
	static const char *const options[] = { "--fabric", "auto", NULL };

	(void)state;
	rig.front_end = front_end_start(options);
	assert_int_equal(rpc_channel_open(rig.front_end->client, rig.front_end->daemon.address,
	                                  &rig.channel),
	                 SIMPLER_OK);
	rpc_channel_set_session(rig.channel, SESSION);
	attach(&rig);
	subjects[0] = (struct subject){ "fake", fake_create(), fake_store };
	subjects[1] = (struct subject){ .name = "stream", .store = node_store };
	assert_int_equal(stream_transport_create(rig.channel, &subjects[1].transport), SIMPLER_OK);
	subjects[2] = (struct subject){ .name = "shm", .store = node_store };
	if (shm_transport_create(rig.shm_address, SESSION, &subjects[2].transport) != SIMPLER_OK)
		fail_msg("%s", simpler_last_error());
	join_fabric();
	return 0;
}

static int stop(void **state)
{
	(void)state;
	for (size_t i = 0; i < subject_count; i++)
		subjects[i].transport->ops->close(subjects[i].transport);
	if (rig.fabric)
		fabric_close(rig.fabric);
	rpc_channel_close(rig.channel);
	front_end_stop(rig.front_end);
	return 0;
}

/* --- moves --- */

struct moved {
	struct transport_move move; /* first */
	pthread_mutex_t lock;       /* guards the rest */
	pthread_cond_t changed;
	unsigned ends;
	simpler_status status;
};

static void on_done(struct transport_move *move, const struct error *error)
{
	struct moved *moved = (struct moved *)move;

	pthread_mutex_lock(&moved->lock);
	moved->ends++;
	moved->status = error ? error->status : SIMPLER_OK;
	pthread_cond_broadcast(&moved->changed);
	pthread_mutex_unlock(&moved->lock);
}

static void prepare(struct moved *moved, bool write, struct transport_storage *storage,
                    const struct span *span, const simpler_tensor *local)
{
	memset(moved, 0, sizeof(*moved));
	pthread_mutex_init(&moved->lock, NULL);
	pthread_cond_init(&moved->changed, NULL);
	moved->move.write = write;
	moved->move.storage = storage;
	moved->move.span = *span;
	layout_init(&moved->move.local, local);
	moved->move.deadline = clock_after_ms(60000);
	moved->move.done = on_done;
	transport_move_init(&moved->move);
}

static simpler_status await(struct moved *moved)
{
	pthread_mutex_lock(&moved->lock);
	while (moved->ends == 0)
		pthread_cond_wait(&moved->changed, &moved->lock);
	assert_int_equal(moved->ends, 1);
	pthread_mutex_unlock(&moved->lock);
	pthread_mutex_destroy(&moved->lock);
	pthread_cond_destroy(&moved->changed);
	return moved->status;
}

static simpler_status go(const struct subject *subject, bool write,
                         struct transport_storage *storage, const struct span *span,
                         const simpler_tensor *local)
{
	struct moved moved;

	prepare(&moved, write, storage, span, local);
	transport_start(subject->transport, &moved.move);
	return await(&moved);
}

static simpler_tensor bytes_at(uint8_t *data, size_t size)
{
	simpler_tensor tensor;

	assert_int_equal(simpler_tensor_init_1d(&tensor, data, SIMPLER_UINT8, (int64_t)size),
	                 SIMPLER_OK);
	return tensor;
}

static void all_of_it_goes_and_comes_at_all_sizes(void **state)
{
	static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, MIB - 1, MIB, MIB + 1, 3 * MIB };

	(void)state;
	for (size_t k = 0; k < subject_count; k++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct transport *transport = subjects[k].transport;
			struct transport_storage storage = subjects[k].store(&rig, sizes[i]);
			const struct span all = { .run_bytes = sizes[i], .runs = 1 };
			uint8_t *out = malloc(sizes[i] + 1), *in = calloc(1, sizes[i] + 1);
			simpler_tensor from = bytes_at(out, sizes[i]), to = bytes_at(in, sizes[i]);
			uint64_t sent = transport->sent, received = transport->received;

			for (size_t b = 0; b < sizes[i]; b++)
				out[b] = (uint8_t)(b * 7 + (b >> 12) + i);
			in[sizes[i]] = 0x5a;
			assert_int_equal(go(&subjects[k], true, &storage, &all, &from), SIMPLER_OK);
			assert_int_equal(go(&subjects[k], false, &storage, &all, &to), SIMPLER_OK);
			assert_memory_equal(in, out, sizes[i]);
			assert_int_equal(in[sizes[i]], 0x5a);
			assert_int_equal(transport->sent - sent, sizes[i]);
			assert_int_equal(transport->received - received, sizes[i]);
			free(out);
			free(in);
		}
	}
}

/* Runs there, columns here, and nothing in between touched on either side. */
static void runs_go_to_columns_and_back(void **state)
{
	enum { ROWS = 3000, WIDTH = 7 };
	static uint16_t here[ROWS][WIDTH], expected[ROWS][WIDTH], all[ROWS][11];
	const struct span span = { .offset = 4, .run_bytes = 6, .pitch = 22, .runs = ROWS };
	const struct span whole = { .run_bytes = sizeof(all), .runs = 1 };
	int64_t shape[] = { ROWS, 3 };
	simpler_tensor local;

	(void)state;
	for (size_t k = 0; k < subject_count; k++) {
		struct transport_storage storage = subjects[k].store(&rig, sizeof(all));
		simpler_tensor rest = bytes_at((uint8_t *)all, sizeof(all));

		assert_int_equal(simpler_tensor_init(&local, &here[0][2], SIMPLER_UINT16, 2, shape),
		                 SIMPLER_OK);
		local.strides[0] = WIDTH;
		for (int i = 0; i < ROWS; i++) {
			for (int j = 0; j < WIDTH; j++)
				here[i][j] = expected[i][j] = (uint16_t)(i * 10 + j);
		}
		assert_int_equal(go(&subjects[k], true, &storage, &span, &local), SIMPLER_OK);
		assert_int_equal(go(&subjects[k], false, &storage, &whole, &rest), SIMPLER_OK);
		for (int i = 0; i < ROWS; i++) {
			for (int j = 0; j < 11; j++)
				assert_int_equal(all[i][j],
				                 j >= 2 && j < 5 ? (uint16_t)(i * 10 + j) : 0);
			here[i][2] = here[i][3] = here[i][4] = 0;
		}
		assert_int_equal(go(&subjects[k], false, &storage, &span, &local), SIMPLER_OK);
		assert_memory_equal(here, expected, sizeof(here));
	}
}

/* Its memory is freed as soon as `done` was called: a sanitizer tells who looks at it afterwards.
 */
static void a_cancelled_move_ends_once_and_lets_go_of_its_memory(void **state)
{
	(void)state;
	for (size_t k = 0; k < subject_count; k++) {
		struct transport_storage storage = subjects[k].store(&rig, 4 * MIB);
		const struct span all = { .run_bytes = 4 * MIB, .runs = 1 };

		for (int i = 0; i < 40; i++) {
			uint8_t *memory = calloc(1, 4 * MIB);
			simpler_tensor local = bytes_at(memory, 4 * MIB);
			struct moved moved;
			simpler_status status;

			prepare(&moved, i % 2 == 0, &storage, &all, &local);
			if (i % 4 < 2)
				transport_cancel(subjects[k].transport, &moved.move, false);
			transport_start(subjects[k].transport, &moved.move);
			pthread_mutex_lock(&moved.lock);
			if (moved.ends == 0)
				transport_cancel(subjects[k].transport, &moved.move, false);
			pthread_mutex_unlock(&moved.lock);
			status = await(&moved);
			assert_true(status == SIMPLER_OK || status == SIMPLER_ECANCELLED);
			free(memory);
		}
	}
}

static void a_move_that_fails_says_so_and_the_next_one_goes(void **state)
{
	struct fake *fake = (struct fake *)subjects[0].transport;
	struct transport_storage storages[] = { fake_store(&rig, 16), node_store(&rig, 16) };
	const struct span all = { .run_bytes = 16, .runs = 1 };
	uint8_t memory[16] = { 0 };
	simpler_tensor local = bytes_at(memory, 16);
	struct transport_storage gone = storages[1];

	(void)state;
	fake->fails = true;
	assert_int_equal(go(&subjects[0], true, &storages[0], &all, &local), SIMPLER_EUNAVAILABLE);
	fake->fails = false;
	assert_int_equal(go(&subjects[0], true, &storages[0], &all, &local), SIMPLER_OK);
	gone.handle.handle_id += (uint64_t)1 << 32;
	assert_int_not_equal(go(&subjects[1], true, &gone, &all, &local), SIMPLER_OK);
	assert_int_equal(go(&subjects[1], true, &storages[1], &all, &local), SIMPLER_OK);
	/* A place that is none of the segment's. */
	gone = storages[1];
	memset(gone.desc + 8, 0x7f, 6);
	assert_int_equal(go(&subjects[2], true, &gone, &all, &local), SIMPLER_EPROTOCOL);
	assert_int_equal(go(&subjects[2], true, &storages[1], &all, &local), SIMPLER_OK);
}

static void each_knows_what_it_reaches(void **state)
{
	struct transport_storage fake = fake_store(&rig, 1), node = node_store(&rig, 1);

	(void)state;
	assert_true(subjects[0].transport->ops->reaches(subjects[0].transport, &fake));
	assert_false(subjects[0].transport->ops->reaches(subjects[0].transport, &node));
	assert_true(subjects[1].transport->ops->reaches(subjects[1].transport, &node));
	assert_true(subjects[2].transport->ops->reaches(subjects[2].transport, &node));
	assert_false(subjects[2].transport->ops->reaches(subjects[2].transport, &fake));
	if (subject_count < 4)
		return;
	assert_true(subjects[3].transport->ops->reaches(subjects[3].transport, &node));
	assert_false(subjects[3].transport->ops->reaches(subjects[3].transport, &fake));
}

static void free_on_node(const struct transport_storage *storage)
{
	struct msg_handle handle = storage->handle;
	struct rpc_buffer buffer;
	uint8_t *answer;
	size_t size;

	handle.transport_desc.size = 0;
	handle.also[0] = '\0';
	assert_int_equal(msg_free_encode(&handle, &buffer), SIMPLER_OK);
	assert_int_equal(rpc_unary_wait(rig.channel, MSG_FREE_TENSOR, clock_after_ms(30000), true,
	                                &buffer, &answer, &size),
	                 SIMPLER_OK);
	free(answer);
}

/* What is freed is not reached any more, whoever has its memory now; nor is it by a guess. */
static void a_key_of_what_is_freed_opens_nothing(void **state)
{
	struct transport_storage mine, next, forged;
	const struct span all = { .run_bytes = 4096, .runs = 1 };
	uint8_t memory[4096], zeros[4096] = { 0 }, found[4096];
	simpler_tensor from = bytes_at(memory, sizeof(memory)), to = bytes_at(found, sizeof(found));

	(void)state;
	if (subject_count < 4) {
		print_message("skipped: there is no fabric\n");
		skip();
	}
	memset(memory, 7, sizeof(memory));
	mine = node_store(&rig, 4096);
	assert_int_equal(go(&subjects[3], true, &mine, &all, &from), SIMPLER_OK);
	free_on_node(&mine);
	next = node_store(&rig, 4096);
	assert_memory_equal(mine.desc, next.desc, SHM_PLACE_BYTES); /* the same memory */
	assert_int_equal(go(&subjects[3], true, &mine, &all, &from), SIMPLER_EUNAVAILABLE);
	assert_int_equal(go(&subjects[3], false, &mine, &all, &to), SIMPLER_EUNAVAILABLE);
	forged = next;
	forged.also[12] ^= 1;
	assert_int_equal(go(&subjects[3], true, &forged, &all, &from), SIMPLER_EUNAVAILABLE);
	assert_int_equal(go(&subjects[3], false, &next, &all, &to), SIMPLER_OK);
	assert_memory_equal(found, zeros, sizeof(zeros));
	/* A place of another endpoint, and one that makes no sense. */
	forged = next;
	forged.also[40] ^= 1;
	assert_int_equal(go(&subjects[3], true, &forged, &all, &from), SIMPLER_EPROTOCOL);
	forged = next;
	forged.also[0] = 9;
	assert_int_equal(go(&subjects[3], true, &forged, &all, &from), SIMPLER_EPROTOCOL);
}

/* --- tasks that wait for bytes to land --- */

/* A task with id `task` and the storage for a tensor, to begin when `landed` writes have landed
 * there, in the rig's session. The engine has not mapped that, and leaves it as it is. */
static void begin_task(const struct transport_storage *storage, uint64_t task, uint32_t landed,
                       struct outcome *outcome)
{
	struct msg_dispatch request = make_dispatch(&rig.front_end->orch, task, FAKE_ANSWER, 0);
	struct msg_handle handle = storage->handle;
	struct rpc_buffer buffer;

	handle.transport_desc.size = 0;
	handle.also[0] = '\0';
	add_handle(&request, SIMPLER_INOUT, &handle, 1);
	request.tensors[request.tensor_count - 1].landed = landed;
	outcome_init(outcome);
	assert_int_equal(msg_dispatch_encode(&request, &buffer), SIMPLER_OK);
	rpc_unary(rig.channel, MSG_DISPATCH, clock_after_ms(30000), true, &buffer, outcome_done,
	          outcome);
}

static void land(struct transport_storage *storage, int64_t value)
{
	const struct span all = { .run_bytes = 8, .runs = 1 };
	simpler_tensor local = bytes_at((uint8_t *)&value, 8);
	struct moved moved;

	prepare(&moved, true, storage, &all, &local);
	moved.move.lands = true;
	transport_start(subjects[3].transport, &moved.move);
	assert_int_equal(await(&moved), SIMPLER_OK);
}

static int64_t value_of(struct transport_storage *storage)
{
	const struct span all = { .run_bytes = 8, .runs = 1 };
	int64_t value = -1;
	simpler_tensor local = bytes_at((uint8_t *)&value, 8);

	assert_int_equal(go(&subjects[3], false, storage, &all, &local), SIMPLER_OK);
	return value;
}

static void a_task_begins_when_what_it_names_has_landed(void **state)
{
	const struct timespec moment = { .tv_nsec = 200 * 1000000 };
	struct transport_storage storage;
	struct outcome early, late;

	(void)state;
	if (subject_count < 4) {
		print_message("skipped: there is no fabric\n");
		skip();
	}
	storage = node_store(&rig, 8);
	begin_task(&storage, 501, 1, &early);
	(void)nanosleep(&moment, NULL);
	assert_int_equal(outcome_ended(&early), 0);
	land(&storage, 41);
	assert_int_equal(storage.landed, 1);
	outcome_wait(&early, &early.ended, 1);
	expect(&early, RPC_OK, "");
	assert_int_equal(value_of(&storage), 41);
	/* One that has landed before is not waited for. */
	land(&storage, 7);
	begin_task(&storage, 502, storage.landed, &late);
	outcome_wait(&late, &late.ended, 1);
	expect(&late, RPC_OK, "");
	assert_int_equal(value_of(&storage), 7);
	outcome_destroy(&early);
	outcome_destroy(&late);
}

static void what_does_not_land_ends_the_wait(void **state)
{
	struct transport_storage storage, freed;
	struct outcome never, gone;

	(void)state;
	if (subject_count < 4) {
		print_message("skipped: there is no fabric\n");
		skip();
	}
	storage = node_store(&rig, 8);
	freed = node_store(&rig, 8);
	begin_task(&storage, 503, 1, &never);
	begin_task(&freed, 504, 1, &gone);
	wait_taken(rig.front_end);
	free_on_node(&freed);
	outcome_wait(&gone, &gone.ended, 1);
	assert_int_not_equal(gone.code, RPC_OK);
	outcome_wait(&never, &never.ended, 1);
	expect(&never, RPC_UNAVAILABLE, "have not landed in time");
	/* The node goes on, and so does the tensor. */
	land(&storage, 1);
	begin_task(&storage, 505, 1, &never);
	outcome_wait(&never, &never.ended, 1);
	expect(&never, RPC_OK, "");
	assert_int_equal(value_of(&storage), 1);
	outcome_destroy(&never);
	outcome_destroy(&gone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_it_goes_and_comes_at_all_sizes),
		cmocka_unit_test(runs_go_to_columns_and_back),
		cmocka_unit_test(a_cancelled_move_ends_once_and_lets_go_of_its_memory),
		cmocka_unit_test(a_move_that_fails_says_so_and_the_next_one_goes),
		cmocka_unit_test(each_knows_what_it_reaches),
		cmocka_unit_test(a_key_of_what_is_freed_opens_nothing),
		cmocka_unit_test(a_task_begins_when_what_it_names_has_landed),
		cmocka_unit_test(what_does_not_land_ends_the_wait),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
