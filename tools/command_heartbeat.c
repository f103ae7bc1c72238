/*
 * simpler heartbeat: whether a node's daemon is alive. That is not whether it takes work; the
 * standard health service tells that, for which every orchestrator of machines has a probe.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "commands.h"
#include "rpc/messages.h"

#define DEFAULT_TIMEOUT_MS 2000

const char heartbeat_usage[] =
	"Usage: simpler heartbeat [--timeout MS] ADDRESS\n"
	"Ask the node at ADDRESS, host:port, [v6]:port or unix:/path, whether it is alive, and\n"
	"print what it says. This is liveness, not readiness: a node that is starting or\n"
	"draining is alive, too. Readiness is what grpc.health.v1.Health answers.\n"
	"\n"
	"  --timeout MS  how long to wait, 1 to 999999999 milliseconds (default 2000)\n";

/* 0 for what is no number of milliseconds. */
static unsigned parse_timeout(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits > 0 && digits <= 9 && text[digits] == '\0' ? (unsigned)strtoul(text, NULL, 10)
	                                                         : 0;
}

static simpler_status ask(struct rpc_client *client, const char *address, int64_t deadline,
                          uint8_t **answer, size_t *size)
{
	struct rpc_channel *channel;
	struct rpc_buffer buffer;
	simpler_status status = rpc_channel_open(client, address, &channel);

	if (status != SIMPLER_OK)
		return status;
	status = msg_empty_encode(&buffer);
	if (status == SIMPLER_OK)
		status = rpc_unary_wait(channel, MSG_HEARTBEAT, deadline, false, &buffer, answer,
		                        size);
	rpc_channel_close(channel);
	if (status == SIMPLER_EUNAVAILABLE)
		return error_context("UNAVAILABLE: nothing serves at %s; is simpler-l3d running "
		                     "there, and is the address right?",
		                     address);
	if (status == SIMPLER_EDEADLINE)
		return error_context("no answer from %s in time; see --timeout", address);
	return status;
}

static simpler_status print_answer(const char *address, const uint8_t *answer, size_t size)
{
	struct msg_health health;
	struct bump bump;
	simpler_status status;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_health_decode(answer, size, &bump, &health);
	if (status == SIMPLER_OK && !health.ok)
		status = error_raise(SIMPLER_EUNAVAILABLE, "%s is not well: %s", address,
		                     health.message);
	if (status == SIMPLER_OK) {
		printf("%s: ", address);
		print_untrusted(stdout, health.message);
		printf("\nThis is liveness; for readiness ask grpc.health.v1.Health.\n");
	}
	bump_release(&bump);
	return status;
}

static simpler_status heartbeat(const char *address, unsigned timeout_ms)
{
	int64_t deadline = clock_after_ms(timeout_ms);
	struct rpc_client *client;
	uint8_t *answer;
	size_t size;
	simpler_status status = rpc_client_create(&client);

	if (status != SIMPLER_OK)
		return status;
	status = ask(client, address, deadline, &answer, &size);
	rpc_client_destroy(client);
	if (status != SIMPLER_OK)
		return status;
	status = print_answer(address, answer, size);
	free(answer);
	return status;
}

int command_heartbeat(int argc, char **argv)
{
	static const struct option options[] = {
		{ "timeout", required_argument, NULL, 256 },
		{ NULL, 0, NULL, 0 },
	};
	unsigned timeout_ms = DEFAULT_TIMEOUT_MS;
	int found;

	while ((found = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (found != 256)
			return usage_bad_option("heartbeat", found, argv);
		timeout_ms = parse_timeout(optarg);
		if (timeout_ms == 0)
			return usage_error("heartbeat",
			                   "--timeout '%s': expected 1 to 999999999 milliseconds",
			                   optarg);
	}
	if (argc - optind != 1)
		return usage_error("heartbeat", "one address is wanted, not %d", argc - optind);
	return heartbeat(argv[optind], timeout_ms) == SIMPLER_OK ? EXIT_SUCCESS
	                                                         : complain("heartbeat");
}
