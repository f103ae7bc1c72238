/*
 * Memory of one virtual machine that another reaches, by src/fabric alone: what keys are worth.
 *
 *     rdma_keys serve ADDRESS          Prints the place of MEMORY bytes, and goes on until SIGTERM.
 *                                      On SIGUSR1 it takes the key back, and prints "revoked".
 *     rdma_keys write ADDRESS PLACE    All of it, and reads it back: the same bytes.
 *     rdma_keys wrong ADDRESS PLACE    Writes and reads with a wrong key, which are refused, and
 *                                      change nothing of what "write" has left there.
 *     rdma_keys revoked ADDRESS PLACE  Writes and reads, which are refused.
 *
 * ADDRESS is this machine's. The exit status says whether it was as it should be.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "fabric/fabric.h"

#define MEMORY     ((uint64_t)4 << 20)
#define PATIENT_MS 20000u

static struct fabric *fabric;
static struct fabric_port *port;

static void check(simpler_status status, const char *what)
{
	if (status == SIMPLER_OK)
		return;
	printf("%s: %s\n", what, simpler_last_error());
	exit(EXIT_FAILURE);
}

static void open_port(const char *address)
{
	const struct fabric_options options = { FABRIC_VERBS, address };
	const struct fabric_port_options none = { 0 };

	check(fabric_open(&options, &fabric), "opening a fabric");
	check(fabric_port_open(fabric, &none, &port), "opening a port");
}

/* --- serving --- */

static void print_place(const struct fabric_place *place)
{
	uint8_t bytes[FABRIC_PLACE_MAX];
	size_t size = fabric_place_encode(place, bytes);

	for (size_t i = 0; i < size; i++)
		printf("%02x", bytes[i]);
	printf("\n");
}

static int serve(void)
{
	struct fabric_place place = { .nbytes = MEMORY };
	struct fabric_region *region;
	uint8_t *memory = calloc(1, MEMORY);
	sigset_t signals;
	int signal = 0;

	if (!memory)
		return EXIT_FAILURE;
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGUSR1);
	(void)sigaddset(&signals, SIGTERM);
	(void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
	check(fabric_region_open(port, memory, MEMORY, FABRIC_READABLE | FABRIC_WRITABLE, &region),
	      "opening a region");
	fabric_region_place(region, &place);
	print_place(&place);
	while (sigwait(&signals, &signal) == 0 && signal != SIGTERM) {
		fabric_region_close(region);
		printf("revoked\n");
	}
	free(memory);
	return EXIT_SUCCESS;
}

/* --- trying --- */

struct waited {
	struct fabric_op op;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool over; /* guarded by the lock */
	struct error error;
};

static void on_done(struct fabric_op *op, const struct error *error)
{
	struct waited *waited = (struct waited *)op;

	pthread_mutex_lock(&waited->lock);
	if (error)
		waited->error = *error;
	waited->over = true;
	(void)pthread_cond_signal(&waited->changed);
	pthread_mutex_unlock(&waited->lock);
}

static simpler_status move(enum fabric_kind kind, const struct fabric_place *place, uint8_t *bytes)
{
	struct waited waited = { .lock = PTHREAD_MUTEX_INITIALIZER,
		                 .changed = PTHREAD_COND_INITIALIZER };

	waited.op = (struct fabric_op){ .kind = kind,
		                        .nbytes = MEMORY,
		                        .key = place->key,
		                        .remote = place->base,
		                        .delivered = true,
		                        .deadline = clock_after_ms(PATIENT_MS),
		                        .done = on_done };
	waited.op.local = bytes;
	check(fabric_peer_open(port, &place->address, &waited.op.peer), "opening a peer");
	fabric_start(&waited.op);
	pthread_mutex_lock(&waited.lock);
	while (!waited.over)
		(void)pthread_cond_wait(&waited.changed, &waited.lock);
	pthread_mutex_unlock(&waited.lock);
	fabric_peer_close(waited.op.peer);
	printf("%s: %s\n", kind == FABRIC_WRITE ? "writing" : "reading",
	       waited.error.status == SIMPLER_OK ? "done" : waited.error.text);
	return waited.error.status;
}

static uint8_t *pattern(void)
{
	uint8_t *bytes = malloc(MEMORY);

	for (uint64_t i = 0; bytes && i < MEMORY; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	return bytes;
}

static bool reads_pattern(const struct fabric_place *place, const uint8_t *expected)
{
	uint8_t *bytes = calloc(1, MEMORY);
	bool same = bytes && move(FABRIC_READ, place, bytes) == SIMPLER_OK &&
	            memcmp(bytes, expected, MEMORY) == 0;

	free(bytes);
	return same;
}

/* And what was to be read has not come. After a refusal a port is of no use. */
static bool refuses(const char *address, const struct fabric_place *place)
{
	uint8_t *zeros = calloc(1, MEMORY);
	bool refused = zeros && move(FABRIC_WRITE, place, zeros) == SIMPLER_EPERM;

	fabric_port_close(port);
	fabric_close(fabric);
	open_port(address);
	refused = refused && move(FABRIC_READ, place, zeros) == SIMPLER_EPERM;
	for (uint64_t i = 0; refused && i < MEMORY; i++)
		refused = zeros[i] == 0;
	fabric_port_close(port);
	fabric_close(fabric);
	open_port(address);
	free(zeros);
	return refused;
}

static bool parse_place(const char *text, struct fabric_place *out)
{
	uint8_t bytes[FABRIC_PLACE_MAX];
	char digits[3] = { 0 };
	size_t size = strlen(text) / 2;

	for (size_t i = 0; i < size && size <= sizeof(bytes); i++) {
		memcpy(digits, text + 2 * i, 2);
		bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	return size <= sizeof(bytes) && fabric_place_decode(bytes, size, out) == SIMPLER_OK;
}

static bool attempt(const char *command, const char *address, const struct fabric_place *place)
{
	struct fabric_place wrong = *place;
	uint8_t *bytes = pattern();
	bool good = false;

	wrong.key ^= 0x5500;
	if (!bytes)
		return false;
	if (strcmp(command, "write") == 0)
		good = move(FABRIC_WRITE, place, bytes) == SIMPLER_OK &&
		       reads_pattern(place, bytes);
	else if (strcmp(command, "wrong") == 0)
		good = refuses(address, &wrong) && reads_pattern(place, bytes);
	else if (strcmp(command, "revoked") == 0)
		good = refuses(address, place);
	free(bytes);
	return good;
}

int main(int argc, char **argv)
{
	struct fabric_place place;
	int status = EXIT_FAILURE;

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3)
		return EXIT_FAILURE;
	open_port(argv[2]);
	if (strcmp(argv[1], "serve") == 0)
		status = serve();
	else if (argc == 4 && parse_place(argv[3], &place) && attempt(argv[1], argv[2], &place))
		status = EXIT_SUCCESS;
	fabric_port_close(port);
	fabric_close(fabric);
	return status;
}
