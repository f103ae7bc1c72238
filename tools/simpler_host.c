/*
 * simpler-host: the process that user code runs in. Nobody starts it by hand; libsimpler and the
 * daemon do, each role on sockets and memory that they hand down from descriptor 3 on.
 *
 * It exports the functions that modules call (simpler-host.syms) and links no RPC library.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ipc/load_process.h"
#include "node/engine.h"
#include "os/rlimits.h"
#include "worker/nested.h"

int main(int argc, char **argv)
{
	/* What user code prints to standard output goes where its errors go: the daemon's standard
	 * output is for whoever started it, who may read no more than its first line. */
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	limits_restore_files();
	if (argc == 2 && strcmp(argv[1], "spawn") == 0)
		return nested_helper_main();
	if (argc > 1 && strcmp(argv[1], "engine") == 0)
		return engine_main(argc - 2, argv + 2);
	if (argc > 1 && strcmp(argv[1], "load") == 0)
		return load_main(argc - 2, argv + 2);
	fprintf(stderr, "simpler-host runs callables for simpler's library and daemon, which start "
	                "it; it is of no use by itself\n");
	return 2;
}
