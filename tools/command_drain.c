/* simpler drain: have a node of this machine finish what runs, take nothing new, and end. */
#include <getopt.h>
#include <stdlib.h>

#include "ask.h"
#include "commands.h"

const char drain_usage[] =
	"Usage: simpler drain [--grace MS] [--timeout MS] ADDRESS\n"
	"Have the node at ADDRESS, which is on this machine, end as if it had got SIGTERM: it is\n"
	"not ready any more when this command is done, refuses new tasks, and ends when the\n"
	"running ones have ended or their time is over. Again with a shorter grace: hurry.\n"
	"\n"
	"  --grace MS    how long running tasks may take, 1 to 999999999 milliseconds (default: "
	"as\n"
	"                long as the daemon's --drain-grace says)\n"
	"  --timeout MS  how long to wait for the answer, 1 to 999999999 milliseconds (default\n"
	"                2000)\n";

static simpler_status drain(const char *address, unsigned grace_ms, unsigned timeout_ms)
{
	const struct msg_drain message = { .grace_ms = grace_ms };
	struct rpc_buffer buffer;
	uint8_t *answer = NULL;
	size_t size;
	simpler_status status = msg_drain_encode(&message, &buffer);

	if (status == SIMPLER_OK)
		status = ask(address, MSG_DRAIN, &buffer, timeout_ms, &answer, &size);
	if (status != SIMPLER_OK)
		return status;
	free(answer);
	printf("%s drains\n", address);
	return SIMPLER_OK;
}

int command_drain(int argc, char **argv)
{
	static const struct option options[] = {
		{ "grace", required_argument, NULL, 256 },
		{ "timeout", required_argument, NULL, 257 },
		{ NULL, 0, NULL, 0 },
	};
	unsigned timeout_ms = ASK_TIMEOUT_MS, grace_ms = 0, *number;
	int found;

	while ((found = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (found != 256 && found != 257)
			return usage_bad_option("drain", found, argv);
		number = found == 256 ? &grace_ms : &timeout_ms;
		*number = usage_timeout(optarg);
		if (*number == 0)
			return usage_error("drain",
			                   "--%s '%s': expected 1 to 999999999 milliseconds",
			                   found == 256 ? "grace" : "timeout", optarg);
	}
	if (argc - optind != 1)
		return usage_error("drain", "one address is wanted, not %d", argc - optind);
	return drain(argv[optind], grace_ms, timeout_ms) == SIMPLER_OK ? EXIT_SUCCESS
	                                                               : complain("drain");
}
