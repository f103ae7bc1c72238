/* One call to a node, for commands that ask something. */
#ifndef TOOLS_ASK_H
#define TOOLS_ASK_H

#include <stdint.h>

#include "rpc/messages.h"

#define ASK_TIMEOUT_MS 2000

/* Call `path`; `message` is handed over. `*answer` is malloc'd, on SIMPLER_OK only. */
simpler_status ask(const char *address, const char *path, struct rpc_buffer *message,
                   unsigned timeout_ms, uint8_t **answer, size_t *size);

#endif
