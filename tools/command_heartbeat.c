/*
 * simpler heartbeat: whether a node's daemon is alive. That is not whether it takes work, which
 * `simpler status` tells, and the standard health service, for which every orchestrator of machines
 * has a probe.
 */
#include <getopt.h>
#include <stdlib.h>

#include "ask.h"
#include "base/error.h"
#include "commands.h"

const char heartbeat_usage[] =
	"Usage: simpler heartbeat [--timeout MS] ADDRESS\n"
	"Ask the node at ADDRESS, host:port, [v6]:port or unix:/path, whether it is alive, and\n"
	"print what it says. This is liveness, not readiness: a node that is starting or\n"
	"draining is alive, too. Readiness is what `simpler status` tells.\n"
	"\n"
	"  --timeout MS  how long to wait, 1 to 999999999 milliseconds (default 2000)\n";

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
		printf("\nThis is liveness; for readiness see simpler status.\n");
	}
	bump_release(&bump);
	return status;
}

static simpler_status heartbeat(const char *address, unsigned timeout_ms)
{
	struct rpc_buffer empty;
	uint8_t *answer;
	size_t size;
	simpler_status status = msg_empty_encode(&empty);

	if (status == SIMPLER_OK)
		status = ask(address, MSG_HEARTBEAT, &empty, timeout_ms, &answer, &size);
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
	unsigned timeout_ms = ASK_TIMEOUT_MS;
	int found;

	while ((found = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (found != 256)
			return usage_bad_option("heartbeat", found, argv);
		timeout_ms = usage_timeout(optarg);
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
