#include "bare_echo.h"

#include <stdlib.h>
#include <unistd.h>

static size_t results(const struct bare_load *load)
{
	return load->outstanding == 1 ? load->count : 1;
}

static bool run(const struct bare_kind *kind, void *client, const struct bare_load *load,
                double *nanoseconds)
{
	double began = bare_now();
	bool good = true;

	if (load->outstanding > 1) {
		good = kind->many(client, load);
		nanoseconds[0] = bare_now() - began;
		return good;
	}
	for (size_t i = 0; i < load->count && good; i++) {
		began = bare_now();
		good = kind->one(client, load->size);
		nanoseconds[i] = bare_now() - began;
	}
	return good;
}

/* Run what comes until nothing does. */
static _Noreturn void obey(const struct bare_kind *kind, const char *address,
                           const struct bare_process *own)
{
	void *client = kind->connect(address);
	struct bare_load load;
	bool good = client != NULL;

	good = bare_process_write(own->out, &good, sizeof(good)) && good;
	while (good && bare_process_read(own->in, &load, sizeof(load))) {
		double *times = calloc(results(&load), sizeof(*times));

		good = times && run(kind, client, &load, times) &&
		       bare_process_write(own->out, times, results(&load) * sizeof(*times));
		free(times);
	}
	_exit(good ? 0 : 1);
}

static _Noreturn void serve(const struct bare_kind *kind, const struct bare_process *own)
{
	bare_process_end_with(own->in);
	kind->serve(own->out);
	_exit(1);
}

static bool start_client(const struct bare_kind *kind, const char *address, struct bare_echo *echo)
{
	bool good = false;

	if (!bare_process_split(&echo->client))
		return false;
	if (echo->client.pid == 0)
		obey(kind, address, &echo->client);
	if (bare_process_read(echo->client.in, &good, sizeof(good)) && good)
		return true;
	bare_process_stop(&echo->client);
	return false;
}

bool bare_echo_start(const struct bare_kind *kind, struct bare_echo *echo)
{
	char address[BARE_ADDRESS];

	if (!bare_process_split(&echo->server))
		return false;
	if (echo->server.pid == 0)
		serve(kind, &echo->server);
	if (bare_process_read(echo->server.in, address, sizeof(address)) &&
	    start_client(kind, address, echo))
		return true;
	bare_process_stop(&echo->server);
	return false;
}

void bare_echo_stop(struct bare_echo *echo)
{
	bare_process_stop(&echo->client);
	bare_process_stop(&echo->server);
}

bool bare_echo_run(struct bare_echo *echo, const struct bare_load *load, double *nanoseconds)
{
	return bare_process_write(echo->client.out, load, sizeof(*load)) &&
	       bare_process_read(echo->client.in, nanoseconds,
	                         results(load) * sizeof(*nanoseconds));
}
