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

int main(int argc, char **argv)
{
	struct options options;
	enum options_action action;

	descriptor_open_standard();
	if (options_parse(argc, argv, &options, &action) != SIMPLER_OK)
		return complain(2);
	if (action != OPTIONS_RUN) {
		fputs(action == OPTIONS_HELP ? options_usage : "simpler-l3d " SIMPLER_VERSION "\n",
		      stdout);
		return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	log_set_role("simpler-l3d");
	simpler_log_set_level(options.log_level);
	return daemon_run(&options) == SIMPLER_OK ? EXIT_SUCCESS : complain(EXIT_FAILURE);
}
