/*
 * Ports of a fabric: bytes land where they should and nowhere else, keys are worth what they should
 * be, and whatever becomes of the other side, an operation ends.
 *
 *     test_fabric [ADDRESS]
 *
 * By the provider tcp over loopback, or with an address of this machine by verbs, as tests/rdma
 * does. The other side is a port of this process, or, where it is to die, another process: this
 * program with one more argument, "serve", which tells a region's place over standard output and
 * waits.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fabric/fabric.h"

#define PATIENT_MS 20000u

/* Which libraries of vendors take for themselves, and what they are set to before. */
static const int signals[] = { SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGTERM, SIGINT };

static void mark(int signal)
{
	_exit(signal);
}

static struct fabric_options fabric_options = { FABRIC_TCP, "127.0.0.1" };
/* Of the memory on either side. Enough that an operation of all of it takes a while: by tcp. Verbs
 * without hardware needs less. */
static uint64_t all_bytes = (uint64_t)64 << 20;
#define VERBS_BYTES ((uint64_t)16 << 20)

/* --- two ports, and what came to the second --- */

struct pair {
	struct fabric *fabric;
	struct fabric_port_options options; /* of both ports */
	struct fabric_port *here, *there;
	struct fabric_peer *peer; /* `there`, as `here` has it */
	uint8_t *local, *remote;  /* all_bytes each */
	struct fabric_region *region;
	struct fabric_place place; /* of `remote` */
	_Atomic uint32_t landed, last_data, messages;
	_Atomic bool slow; /* to take what has landed */
	uint8_t message[FABRIC_MESSAGE_MAX];
	size_t message_size;
	struct fabric_address from;
};

static void note_landed(void *context, uint32_t data)
{
	const struct timespec moment = { .tv_nsec = 20 * CLOCK_MS };
	struct pair *pair = context;

	if (pair->slow)
		(void)nanosleep(&moment, NULL);
	pair->last_data = data;
	pair->landed++;
}

static void note_received(void *context, const struct fabric_address *from, const uint8_t *bytes,
                          size_t size)
{
	struct pair *pair = context;

	pair->from = *from;
	pair->message_size = size;
	memcpy(pair->message, bytes, size);
	pair->messages++;
}

static void nap(void)
{
	const struct timespec moment = { .tv_nsec = 200000 };

	(void)nanosleep(&moment, NULL);
}

static bool comes_to(const _Atomic uint32_t *count, uint32_t want)
{
	int64_t until = clock_after_ms(PATIENT_MS);

	while (*count < want && clock_now() < until)
		nap();
	return *count == want;
}

static void open_here(struct pair *pair)
{
	assert_int_equal(fabric_port_open(pair->fabric, &pair->options, &pair->here), SIMPLER_OK);
	assert_int_equal(
		fabric_peer_open(pair->here, fabric_port_address(pair->there), &pair->peer),
		SIMPLER_OK);
}

/* What local memory holds at first; made once, as a sanitizer makes that slow. */
static const uint8_t *pattern(void)
{
	static uint8_t *bytes;

	if (bytes)
		return bytes;
	bytes = malloc(all_bytes);
	assert_non_null(bytes);
	for (uint64_t i = 0; i < all_bytes; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	return bytes;
}

static int set_up(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	assert_non_null(pair);
	pair->options = (struct fabric_port_options){ .landed = note_landed,
		                                      .received = note_received,
		                                      .context = pair,
		                                      .receives = 4,
		                                      .message_bytes = FABRIC_MESSAGE_MAX };
	pair->local = malloc(all_bytes);
	pair->remote = calloc(1, all_bytes);
	assert_non_null(pair->local);
	assert_non_null(pair->remote);
	memcpy(pair->local, pattern(), all_bytes);
	assert_int_equal(fabric_open(&fabric_options, &pair->fabric), SIMPLER_OK);
	assert_int_equal(fabric_port_open(pair->fabric, &pair->options, &pair->there), SIMPLER_OK);
	open_here(pair);
	assert_int_equal(fabric_region_open(pair->there, pair->remote, all_bytes,
	                                    FABRIC_READABLE | FABRIC_WRITABLE, &pair->region),
	                 SIMPLER_OK);
	fabric_region_place(pair->region, &pair->place);
	*state = pair;
	return 0;
}

static int tear_down(void **state)
{
	struct pair *pair = *state;

	if (pair->here)
		fabric_port_close(pair->here);
	fabric_port_close(pair->there);
	fabric_close(pair->fabric);
	free(pair->local);
	free(pair->remote);
	free(pair);
	return 0;
}

/* --- operations that are waited for --- */

struct waited {
	struct fabric_op op;
	struct error error;
	_Atomic uint32_t done;
};

static void note_done(struct fabric_op *op, const struct error *error)
{
	struct waited *waited = (struct waited *)op;

	if (error)
		waited->error = *error;
	else
		waited->error.status = SIMPLER_OK;
	waited->done++;
}

static struct waited *make_op(struct fabric_peer *peer, enum fabric_kind kind, uint8_t *local,
                              uint64_t nbytes, const struct fabric_place *place)
{
	struct waited *waited = calloc(1, sizeof(*waited));

	assert_non_null(waited);
	waited->op = (struct fabric_op){ .kind = kind,
		                         .peer = peer,
		                         .nbytes = nbytes,
		                         .deadline = clock_after_ms(PATIENT_MS),
		                         .done = note_done };
	waited->op.local = local;
	if (place) {
		waited->op.key = place->key;
		waited->op.remote = place->base;
	}
	return waited;
}

static simpler_status finish(struct waited *waited)
{
	simpler_status status;

	assert_true(comes_to(&waited->done, 1));
	status = waited->error.status;
	free(waited);
	return status;
}

static simpler_status run_at(struct pair *pair, const struct fabric_place *place,
                             enum fabric_kind kind, uint8_t *local, uint64_t nbytes)
{
	struct waited *waited = make_op(pair->peer, kind, local, nbytes, place);

	waited->op.delivered = true;
	fabric_start(&waited->op);
	return finish(waited);
}

static simpler_status run(struct pair *pair, enum fabric_kind kind, uint8_t *local, uint64_t nbytes)
{
	return run_at(pair, &pair->place, kind, local, nbytes);
}

/* --- moving bytes --- */

static const uint64_t sizes[] = { 0, 1, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1, UINT64_MAX };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static uint64_t size_of(size_t i)
{
	return sizes[i] < all_bytes ? sizes[i] : all_bytes;
}

static void what_is_written_is_there(void **state)
{
	struct pair *pair = *state;

	for (size_t i = 0; i < SIZES; i++) {
		memset(pair->remote, 0, all_bytes);
		assert_int_equal(run(pair, FABRIC_WRITE, pair->local, size_of(i)), SIMPLER_OK);
		assert_memory_equal(pair->remote, pair->local, size_of(i));
		if (size_of(i) < all_bytes)
			assert_int_equal(pair->remote[size_of(i)], 0);
	}
	assert_int_equal(pair->landed, 0);
}

static void what_is_read_is_what_is_there(void **state)
{
	struct pair *pair = *state;

	memcpy(pair->remote, pair->local, all_bytes);
	for (size_t i = 0; i < SIZES; i++) {
		memset(pair->local, 0, all_bytes);
		assert_int_equal(run(pair, FABRIC_READ, pair->local, size_of(i)), SIMPLER_OK);
		assert_memory_equal(pair->remote, pair->local, size_of(i));
		if (size_of(i) < all_bytes)
			assert_int_equal(pair->local[size_of(i)], 0);
	}
}

static void a_write_in_the_middle_leaves_the_rest_alone(void **state)
{
	struct pair *pair = *state;
	struct waited *waited = make_op(pair->peer, FABRIC_WRITE, pair->local, 100, &pair->place);

	waited->op.remote += 1000;
	waited->op.delivered = true;
	fabric_start(&waited->op);
	assert_int_equal(finish(waited), SIMPLER_OK);
	assert_memory_equal(pair->remote + 1000, pair->local, 100);
	assert_int_equal(pair->remote[999], 0);
	assert_int_equal(pair->remote[1100], 0);
}

static void each_piece_of_a_write_is_told_when_it_has_landed(void **state)
{
	struct pair *pair = *state;
	struct waited *waited =
		make_op(pair->peer, FABRIC_WRITE, pair->local, all_bytes, &pair->place);
	uint32_t pieces;

	waited->op.carries = true;
	waited->op.data = 0xdeadbeef;
	fabric_start(&waited->op);
	assert_true(comes_to(&waited->done, 1));
	pieces = waited->op.pieces;
	assert_int_equal(finish(waited), SIMPLER_OK);
	assert_int_equal(pieces, all_bytes / FABRIC_PIECE_BYTES);
	assert_true(comes_to(&pair->landed, pieces));
	assert_int_equal(pair->last_data, 0xdeadbeef);
	assert_memory_equal(pair->remote, pair->local, all_bytes);
}

static void many_at_once_all_end(void **state)
{
	enum { MANY = 1000, EACH = 5000 };
	struct pair *pair = *state;
	struct waited **ops = calloc(MANY, sizeof(*ops));

	assert_non_null(ops);
	for (size_t i = 0; i < MANY; i++) {
		ops[i] = make_op(pair->peer, FABRIC_WRITE, pair->local + i * EACH, EACH,
		                 &pair->place);
		ops[i]->op.remote += i * EACH;
		ops[i]->op.carries = true;
		ops[i]->op.data = (uint32_t)i;
		fabric_start(&ops[i]->op);
	}
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(finish(ops[i]), SIMPLER_OK);
	assert_true(comes_to(&pair->landed, MANY));
	assert_memory_equal(pair->remote, pair->local, MANY * EACH);
	free(ops);
}

/* --- messages --- */

static void a_message_says_who_sent_it_and_can_be_answered(void **state)
{
	static const size_t lengths[] = { 0, 1, 64, 4096, 20000, FABRIC_MESSAGE_MAX };
	struct pair *pair = *state;
	struct fabric_peer *back;
	uint32_t count = 0;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		assert_int_equal(run(pair, FABRIC_SEND, pair->local, lengths[i]), SIMPLER_OK);
		assert_true(comes_to(&pair->messages, ++count));
		assert_int_equal(pair->message_size, lengths[i]);
		assert_memory_equal(pair->message, pair->local, lengths[i]);
		assert_true(fabric_address_equal(&pair->from, fabric_port_address(pair->here)));
	}
	assert_int_equal(fabric_peer_open(pair->there, &pair->from, &back), SIMPLER_OK);
	struct waited *answer = make_op(back, FABRIC_SEND, pair->local + 5, 7, NULL);

	fabric_start(&answer->op);
	assert_int_equal(finish(answer), SIMPLER_OK);
	assert_true(comes_to(&pair->messages, ++count));
	assert_memory_equal(pair->message, pair->local + 5, 7);
	assert_true(fabric_address_equal(&pair->from, fabric_port_address(pair->there)));
	fabric_peer_close(back);
}

static void messages_come_in_order_however_many_are_sent(void **state)
{
	enum { MANY = 2000 };
	struct pair *pair = *state;
	struct waited **ops = calloc(MANY, sizeof(*ops));

	assert_non_null(ops);
	for (size_t i = 0; i < MANY; i++) {
		ops[i] = make_op(pair->peer, FABRIC_SEND, pair->local + i, 1 + i % 3000, NULL);
		fabric_start(&ops[i]->op);
	}
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(finish(ops[i]), SIMPLER_OK);
	assert_true(comes_to(&pair->messages, MANY));
	assert_int_equal(pair->message_size, 1 + (MANY - 1) % 3000);
	free(ops);
}

static void a_message_that_is_too_long_is_refused(void **state)
{
	struct pair *pair = *state;

	assert_int_equal(run(pair, FABRIC_SEND, pair->local, FABRIC_MESSAGE_MAX + 1),
	                 SIMPLER_EINVAL);
	assert_int_equal(pair->messages, 0);
}

/* --- keys --- */

/* What a refusal has cost: with verbs, the port. */
static void mend(struct pair *pair)
{
	if (fabric_port_is_up(pair->here))
		return;
	assert_int_equal(fabric_options.provider, FABRIC_VERBS);
	fabric_port_close(pair->here);
	pair->here = NULL;
	open_here(pair);
}

static void is_refused(struct pair *pair, const struct fabric_place *place, enum fabric_kind kind)
{
	uint8_t bytes[64] = { 1, 2, 3 };
	struct fabric_peer *peer;
	struct waited *waited;
	simpler_status status;

	assert_int_equal(fabric_peer_open(pair->here, &place->address, &peer), SIMPLER_OK);
	waited = make_op(peer, kind, bytes, sizeof(bytes), place);
	waited->op.delivered = true;
	fabric_start(&waited->op);
	status = finish(waited);
	assert_true(status == SIMPLER_EPERM ||
	            (status == SIMPLER_EUNAVAILABLE && fabric_options.provider == FABRIC_TCP));
	assert_int_equal(pair->remote[0], 0);
	fabric_peer_close(peer);
	mend(pair);
}

/* Whoever holds the right key, by a connection that is made anew if a refusal has cost it. */
static void serves_on_at(struct pair *pair, const struct fabric_place *place, enum fabric_kind kind,
                         uint8_t *local, uint64_t nbytes)
{
	int64_t until = clock_after_ms(PATIENT_MS);
	simpler_status status;

	do {
		status = run_at(pair, place, kind, local, nbytes);
	} while (status != SIMPLER_OK && clock_now() < until);
	assert_int_equal(status, SIMPLER_OK);
}

static void serves_on(struct pair *pair)
{
	serves_on_at(pair, &pair->place, FABRIC_WRITE, pair->local + 1, 10);
	assert_memory_equal(pair->remote, pair->local + 1, 10);
}

static void a_wrong_key_is_refused(void **state)
{
	struct pair *pair = *state;
	struct fabric_place wrong = pair->place;

	wrong.key ^= 0x5555;
	is_refused(pair, &wrong, FABRIC_WRITE);
	is_refused(pair, &wrong, FABRIC_READ);
	serves_on(pair);
}

static void what_goes_past_the_region_is_refused(void **state)
{
	struct pair *pair = *state;
	struct fabric_place past = pair->place;

	past.base += all_bytes - 63;
	is_refused(pair, &past, FABRIC_WRITE);
	assert_int_equal(pair->remote[all_bytes - 1], 0);
	past.base = pair->place.base - 1;
	is_refused(pair, &past, FABRIC_READ);
	serves_on(pair);
}

static void a_closed_regions_key_is_refused(void **state)
{
	struct pair *pair = *state;
	struct fabric_place closed;

	fabric_region_place(pair->region, &closed);
	fabric_region_close(pair->region);
	is_refused(pair, &closed, FABRIC_WRITE);
	is_refused(pair, &closed, FABRIC_READ);
	assert_int_equal(fabric_region_open(pair->there, pair->remote, all_bytes,
	                                    FABRIC_READABLE | FABRIC_WRITABLE, &pair->region),
	                 SIMPLER_OK);
	fabric_region_place(pair->region, &pair->place);
	is_refused(pair, &closed, FABRIC_WRITE);
	serves_on(pair);
}

static void a_region_for_reading_cannot_be_written(void **state)
{
	struct pair *pair = *state;
	struct fabric_region *region;
	struct fabric_place place;
	uint8_t bytes[64] = { 7 };

	assert_int_equal(
		fabric_region_open(pair->there, pair->remote, all_bytes, FABRIC_READABLE, &region),
		SIMPLER_OK);
	fabric_region_place(region, &place);
	is_refused(pair, &place, FABRIC_WRITE);
	serves_on_at(pair, &place, FABRIC_READ, bytes, sizeof(bytes));
	assert_int_equal(bytes[0], 0);
	fabric_region_close(region);
}

static void a_key_is_worth_nothing_at_another_port(void **state)
{
	struct pair *pair = *state;
	const struct fabric_port_options options = { .context = pair };
	struct fabric_place elsewhere = pair->place;
	struct fabric_port *other;

	assert_int_equal(fabric_port_open(pair->fabric, &options, &other), SIMPLER_OK);
	elsewhere.address = *fabric_port_address(other);
	is_refused(pair, &elsewhere, FABRIC_WRITE);
	fabric_port_close(other);
	serves_on(pair);
}

/* --- peers --- */

static void an_address_is_one_peer_however_often_it_is_opened(void **state)
{
	struct pair *pair = *state;
	struct fabric_address other = *fabric_port_address(pair->there);
	struct fabric_peer *again;

	assert_int_equal(fabric_peer_open(pair->here, &other, &again), SIMPLER_OK);
	assert_ptr_equal(again, pair->peer);
	fabric_peer_close(again);
	assert_int_equal(run(pair, FABRIC_WRITE, pair->local, 10), SIMPLER_OK);
	other.size--;
	assert_int_equal(fabric_peer_open(pair->here, &other, &again), SIMPLER_EPROTOCOL);
	other.size++;
	other.bytes[0] ^= 0x40;
	assert_int_equal(fabric_peer_open(pair->here, &other, &again), SIMPLER_EPROTOCOL);
}

/* --- ends --- */

/* On a machine that has other things to do what is on its way may take longer than that. */
static void is_up_unless_its_grace_is_over(struct pair *pair, int64_t cancelled_at)
{
	if (fabric_port_is_up(pair->here))
		return;
	assert_true(clock_now() - cancelled_at >= FABRIC_GRACE_MS * CLOCK_MS);
	fabric_port_close(pair->here);
	open_here(pair);
}

static void a_cancelled_operation_ends_soon(void **state)
{
	struct pair *pair = *state;

	for (int i = 0; i < 20; i++) {
		struct waited *waited =
			make_op(pair->peer, FABRIC_WRITE, pair->local, all_bytes, &pair->place);
		int64_t cancelled_at;

		fabric_start(&waited->op);
		if (i % 2)
			nap();
		cancelled_at = clock_now();
		fabric_cancel(&waited->op);
		assert_int_equal(finish(waited), SIMPLER_ECANCELLED);
		is_up_unless_its_grace_is_over(pair, cancelled_at);
	}
	serves_on(pair);
}

/* Behind what the others have on their way it takes longer than one is patient with it alone. */
static void a_cancelled_operation_costs_others_nothing(void **state)
{
	enum { OTHERS = 4 };
	struct pair *pair = *state;
	struct waited *ops[OTHERS + 1];

	serves_on(pair); /* connected, it sends at once */
	pair->slow = true;
	for (size_t i = 0; i <= OTHERS; i++) {
		ops[i] =
			make_op(pair->peer, FABRIC_WRITE, pair->local, all_bytes / 2, &pair->place);
		ops[i]->op.carries = ops[i]->op.delivered = true;
		fabric_start(&ops[i]->op);
	}
	fabric_cancel(&ops[OTHERS]->op);
	for (size_t i = 0; i < OTHERS; i++)
		assert_int_equal(finish(ops[i]), SIMPLER_OK);
	assert_int_equal(finish(ops[OTHERS]), SIMPLER_ECANCELLED);
	pair->slow = false;
	serves_on(pair);
}

static void closing_a_port_ends_what_is_in_progress(void **state)
{
	enum { MANY = 8 };
	struct pair *pair = *state;
	struct waited *ops[MANY];

	for (size_t i = 0; i < MANY; i++) {
		ops[i] = make_op(pair->peer, i % 2 ? FABRIC_WRITE : FABRIC_READ, pair->local,
		                 all_bytes, &pair->place);
		fabric_start(&ops[i]->op);
	}
	fabric_port_close(pair->here);
	pair->here = NULL;
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(ops[i]->done, 1);
		assert_int_equal(finish(ops[i]), SIMPLER_EUNAVAILABLE);
	}
}

static void a_port_that_is_shut_takes_nothing_more(void **state)
{
	struct pair *pair = *state;

	assert_true(fabric_port_is_up(pair->here));
	fabric_port_shut(pair->here);
	assert_false(fabric_port_is_up(pair->here));
	assert_int_equal(run(pair, FABRIC_WRITE, pair->local, 10), SIMPLER_EUNAVAILABLE);
}

static void the_other_sides_port_is_closed_in_the_middle(void **state)
{
	struct pair *pair = *state;
	struct waited *waited =
		make_op(pair->peer, FABRIC_WRITE, pair->local, all_bytes, &pair->place);

	waited->op.deadline = clock_after_ms(5000);
	fabric_start(&waited->op);
	fabric_port_shut(pair->there);
	assert_int_equal(finish(waited), SIMPLER_EUNAVAILABLE);
}

static int64_t cpu_ns(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * CLOCK_S +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static void a_fabric_with_nothing_to_do_sleeps(void **state)
{
	struct pair *pair = *state;
	const struct timespec while_idle = { .tv_nsec = 500 * CLOCK_MS };
	int64_t before;

	assert_int_equal(run(pair, FABRIC_WRITE, pair->local, all_bytes), SIMPLER_OK);
	nap();
	before = cpu_ns();
	(void)nanosleep(&while_idle, NULL);
	assert_true(cpu_ns() - before < 50 * CLOCK_MS);
}

/* --- other processes --- */

struct server {
	pid_t pid;
	struct fabric_place place;
	struct fabric_peer *peer;
};

static int serve(void)
{
	const struct fabric_port_options options = { 0 };
	struct fabric *fabric;
	struct fabric_port *port;
	struct fabric_region *region;
	struct fabric_place place = { 0 };
	uint8_t *bytes = calloc(1, all_bytes);
	char byte;

	if (!bytes || fabric_open(&fabric_options, &fabric) != SIMPLER_OK ||
	    fabric_port_open(fabric, &options, &port) != SIMPLER_OK ||
	    fabric_region_open(port, bytes, all_bytes, FABRIC_READABLE | FABRIC_WRITABLE,
	                       &region) != SIMPLER_OK)
		return 1;
	fabric_region_place(region, &place);
	if (write(STDOUT_FILENO, &place, sizeof(place)) != (ssize_t)sizeof(place))
		return 1;
	/* Until the test closes its end. */
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	fabric_port_close(port);
	fabric_close(fabric);
	free(bytes);
	return 0;
}

static void start_server(struct pair *pair, struct server *server)
{
	int told[2], hold[2];

	assert_int_equal(pipe(told), 0);
	assert_int_equal(pipe(hold), 0);
	server->pid = fork();
	assert_true(server->pid >= 0);
	if (server->pid == 0) {
		(void)dup2(hold[0], STDIN_FILENO);
		(void)dup2(told[1], STDOUT_FILENO);
		(void)close(hold[1]);
		(void)execl("/proc/self/exe", "test_fabric", fabric_options.address, "serve",
		            (char *)NULL);
		_exit(1);
	}
	(void)close(told[1]);
	(void)close(hold[0]);
	assert_int_equal(read(told[0], &server->place, sizeof(server->place)),
	                 sizeof(server->place));
	(void)close(told[0]);
	assert_int_equal(fabric_peer_open(pair->here, &server->place.address, &server->peer),
	                 SIMPLER_OK);
}

static void end_server(struct server *server)
{
	(void)kill(server->pid, SIGKILL);
	(void)waitpid(server->pid, NULL, 0);
}

/* Writes without end until something goes wrong, and says what; `signal` comes in the midst, and
 * from then on each may take `within_ms`. */
static simpler_status write_until_wrong(struct pair *pair, struct server *server,
                                        enum fabric_kind kind, int signal, uint64_t within_ms,
                                        int64_t *took)
{
	int64_t begun = 0;
	simpler_status status;

	for (int i = 0;; i++) {
		struct waited *waited =
			make_op(server->peer, kind, pair->local, all_bytes, &server->place);

		if (i >= 2)
			waited->op.deadline = clock_after_ms(within_ms);
		fabric_start(&waited->op);
		if (i == 2) {
			begun = clock_now();
			(void)kill(server->pid, signal);
		}
		status = finish(waited);
		if (status != SIMPLER_OK)
			break;
		assert_true(i < 1000);
	}
	*took = clock_now() - begun;
	return status;
}

static void a_peer_killed_in_the_middle_ends_it(void **state)
{
	struct pair *pair = *state;
	struct server server;
	int64_t took;

	for (int kind = FABRIC_WRITE; kind <= FABRIC_READ; kind++) {
		start_server(pair, &server);
		assert_int_equal(write_until_wrong(pair, &server, (enum fabric_kind)kind, SIGKILL,
		                                   PATIENT_MS, &took),
		                 SIMPLER_EUNAVAILABLE);
		assert_true(took < FABRIC_STALL_MS * CLOCK_MS); /* by which silence would */
		end_server(&server);
		fabric_peer_close(server.peer);
		mend(pair);
	}
	serves_on(pair); /* the others are none the worse for it */
}

static void a_peer_that_is_not_there_any_more_is_told_at_once(void **state)
{
	struct pair *pair = *state;
	struct server server;
	struct waited *waited;

	start_server(pair, &server);
	end_server(&server);
	waited = make_op(server.peer, FABRIC_WRITE, pair->local, 10, &server.place);
	waited->op.deadline = clock_after_ms(5000);
	fabric_start(&waited->op);
	assert_int_equal(finish(waited), SIMPLER_EUNAVAILABLE);
	fabric_peer_close(server.peer);
}

/* It neither answers nor is gone: only a port that goes down has the memory back. */
static void a_peer_that_stops_ends_it_at_the_deadline(void **state)
{
	struct pair *pair = *state;
	const struct fabric_port_options options = { 0 };
	struct server server;
	struct fabric_port *anew;
	struct waited *waited;
	int64_t took;

	if (fabric_options.provider == FABRIC_VERBS) /* its device answers for it */
		skip();
	start_server(pair, &server);
	assert_int_equal(write_until_wrong(pair, &server, FABRIC_WRITE, SIGSTOP, 1500, &took),
	                 SIMPLER_EDEADLINE);
	assert_true(took < 6000 * CLOCK_MS);
	assert_int_equal(run(pair, FABRIC_WRITE, pair->local, 10), SIMPLER_EUNAVAILABLE);
	/* It goes on, and is to be had by a port of later. */
	(void)kill(server.pid, SIGCONT);
	assert_int_equal(fabric_port_open(pair->fabric, &options, &anew), SIMPLER_OK);
	assert_int_equal(fabric_peer_open(anew, &server.place.address, &server.peer), SIMPLER_OK);
	waited = make_op(server.peer, FABRIC_READ, pair->remote, all_bytes, &server.place);
	fabric_start(&waited->op);
	assert_int_equal(finish(waited), SIMPLER_OK);
	assert_memory_equal(pair->remote, pair->local, FABRIC_PIECE_BYTES);
	end_server(&server);
	fabric_port_close(anew);
}

/* What of an answer has not come may be on its way still when the port goes down. */
static void a_peer_that_stops_while_it_answers_costs_its_readers_alone(void **state)
{
	enum { MANY = 8, ROUNDS = 20 };
	struct pair *pair = *state;
	struct server server;
	struct waited *ops[MANY];

	if (fabric_options.provider == FABRIC_VERBS) /* its device answers for it */
		skip();
	for (int round = 0; round < ROUNDS; round++) {
		start_server(pair, &server);
		ops[0] = make_op(server.peer, FABRIC_READ, pair->local, 10, &server.place);
		fabric_start(&ops[0]->op);
		assert_int_equal(finish(ops[0]), SIMPLER_OK); /* it is connected */
		for (int i = 0; i < MANY; i++) {
			ops[i] = make_op(server.peer, i % 3 == 1 ? FABRIC_WRITE : FABRIC_READ,
			                 pair->local, all_bytes, &server.place);
			fabric_start(&ops[i]->op);
		}
		for (int i = 0; i < 5 + round; i++)
			nap();
		(void)kill(server.pid, SIGSTOP);
		for (int i = 0; i < 50; i++)
			nap(); /* what has come is taken */
		fabric_port_shut(pair->here);
		for (int i = 0; i < MANY; i++)
			assert_int_equal(finish(ops[i]), SIMPLER_EUNAVAILABLE);
		end_server(&server);
		fabric_port_close(pair->here);
		open_here(pair);
	}
	serves_on(pair);
}

/* --- opening --- */

/* Some of what libfabric brings along helps itself to them; cmocka, too, while a test runs. */
static bool handlers_stayed = true;

static void look_at_handlers(void)
{
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct sigaction now;

		assert_int_equal(sigaction(signals[i], NULL, &now), 0);
		handlers_stayed = handlers_stayed && now.sa_handler == mark;
	}
}

static void the_processes_signal_handlers_stay(void **state)
{
	(void)state;
	assert_true(handlers_stayed);
}

static void an_address_that_will_not_do_is_refused(void **state)
{
	static const struct {
		const char *address;
		simpler_status status;
	} cases[] = { { "0.0.0.0", SIMPLER_EINVAL },
		      { "::", SIMPLER_EINVAL },
		      { "", SIMPLER_EINVAL },
		      { "203.0.113.9", SIMPLER_EUNAVAILABLE },
		      { "localhost.invalid", SIMPLER_EUNAVAILABLE } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fabric_options options = { FABRIC_ANY, cases[i].address };
		struct fabric *fabric;

		assert_int_equal(fabric_open(&options, &fabric), cases[i].status);
	}
}

/* --- what it takes --- */

/* They keep books of their own about memory. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static uint64_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	char line[256], *second;

	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	(void)fclose(file);
	second = strchr(line, ' ');
	assert_non_null(second);
	return strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A node has one for each session that asks. */
static void ports_are_small(void **state)
{
	enum { PORTS = 8 };
	struct pair *pair = *state;
	const struct fabric_port_options options = { 0 };
	struct fabric_port *ports[PORTS];
	uint64_t before = resident_bytes(), after, each;

	if (SANITIZED) {
		print_message("  a sanitizer's own memory would be counted, too\n");
		skip();
	}
	for (size_t i = 0; i < PORTS; i++)
		assert_int_equal(fabric_port_open(pair->fabric, &options, &ports[i]), SIMPLER_OK);
	after = resident_bytes();
	each = after > before ? (after - before) / PORTS : 0;
	print_message("  %llu bytes each\n", (unsigned long long)each);
	assert_in_range(each, 0, (uint64_t)36 << 20);
	for (size_t i = 0; i < PORTS; i++)
		fabric_port_close(ports[i]);
}

int main(int argc, char **argv)
{
#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_PAIR(what_is_written_is_there),
		WITH_PAIR(what_is_read_is_what_is_there),
		WITH_PAIR(a_write_in_the_middle_leaves_the_rest_alone),
		WITH_PAIR(each_piece_of_a_write_is_told_when_it_has_landed),
		WITH_PAIR(many_at_once_all_end),
		WITH_PAIR(a_message_says_who_sent_it_and_can_be_answered),
		WITH_PAIR(messages_come_in_order_however_many_are_sent),
		WITH_PAIR(a_message_that_is_too_long_is_refused),
		WITH_PAIR(a_wrong_key_is_refused),
		WITH_PAIR(what_goes_past_the_region_is_refused),
		WITH_PAIR(a_closed_regions_key_is_refused),
		WITH_PAIR(a_region_for_reading_cannot_be_written),
		WITH_PAIR(a_key_is_worth_nothing_at_another_port),
		WITH_PAIR(an_address_is_one_peer_however_often_it_is_opened),
		WITH_PAIR(a_cancelled_operation_ends_soon),
		WITH_PAIR(a_cancelled_operation_costs_others_nothing),
		WITH_PAIR(closing_a_port_ends_what_is_in_progress),
		WITH_PAIR(a_port_that_is_shut_takes_nothing_more),
		WITH_PAIR(the_other_sides_port_is_closed_in_the_middle),
		WITH_PAIR(a_fabric_with_nothing_to_do_sleeps),
		WITH_PAIR(ports_are_small),
		WITH_PAIR(a_peer_killed_in_the_middle_ends_it),
		WITH_PAIR(a_peer_that_is_not_there_any_more_is_told_at_once),
		WITH_PAIR(a_peer_that_stops_ends_it_at_the_deadline),
		WITH_PAIR(a_peer_that_stops_while_it_answers_costs_its_readers_alone),
		cmocka_unit_test(the_processes_signal_handlers_stay),
		cmocka_unit_test(an_address_that_will_not_do_is_refused),
	};
	struct fabric *fabric;

	if (argc > 1 && strcmp(argv[1], fabric_options.address) != 0) {
		fabric_options = (struct fabric_options){ FABRIC_VERBS, argv[1] };
		all_bytes = VERBS_BYTES;
	}
	if (argc > 2 && strcmp(argv[2], "serve") == 0)
		return serve();
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)signal(signals[i], mark);
	if (fabric_open(&fabric_options, &fabric) != SIMPLER_OK) {
		(void)fprintf(stderr, "skipped: %s\n", simpler_last_error());
		return 77;
	}
	fabric_close(fabric);
	look_at_handlers();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
