/* simpler-l3d from its options to its exit status. */
#ifndef NODE_DAEMON_H
#define NODE_DAEMON_H

#include "node/options.h"

/*
 * Serve until SIGTERM or SIGINT, then drain. Once a parent may attach, `ready ADDRESS` goes to
 * standard output, after the port file was written.
 *
 * @return SIMPLER_OK after a drain; else why it could not serve.
 */
simpler_status daemon_run(const struct options *options);

#endif
