/* simpler-l3d: serve this machine as a level-3 node. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "node/daemon.h"
#include "os/descriptor.h"
#include "simpler/version.h"

static int complain(int exit_status)
{
	fprintf(stderr, "simpler-l3d: %s\n", simpler_last_error_step(0));
	return exit_status;
}

static void print(enum options_action action)
{
	if (action == OPTIONS_VERSION)
		fputs("simpler-l3d " SIMPLER_VERSION "\n", stdout);
	for (size_t i = 0; i < OPTIONS_USAGE_PARTS && action == OPTIONS_HELP; i++)
		fputs(options_usage[i], stdout);
}

int main(int argc, char **argv)
{
	struct options options;
	enum options_action action;

	descriptor_open_standard();
	if (options_parse(argc, argv, &options, &action) != SIMPLER_OK)
		return complain(2);
	if (action != OPTIONS_RUN) {
		print(action);
		return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	log_set_role("simpler-l3d");
	simpler_log_set_level(options.log_level);
	return daemon_run(&options) == SIMPLER_OK ? EXIT_SUCCESS : complain(EXIT_FAILURE);
}
