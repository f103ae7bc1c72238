/* grpc.reflection.v1alpha: lets tools such as grpcurl ask a server what it serves. */
#ifndef RPC_REFLECTION_H
#define RPC_REFLECTION_H

#include "rpc/rpc.h"

/* Whatever is asked, RPC_OK and the answer's message; RPC_INVALID_ARGUMENT for what is no
 * ServerReflectionRequest, and RPC_RESOURCE_EXHAUSTED without memory. A pure function. */
enum rpc_code rpc_reflection_answer(const uint8_t *data, size_t size, struct rpc_buffer *out);

/* For rpc_server_options.services. */
struct rpc_service rpc_reflection_service(void);

#endif
