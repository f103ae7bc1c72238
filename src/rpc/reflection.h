/* grpc.reflection.v1alpha: lets tools such as grpcurl ask a server what it serves. */
#ifndef RPC_REFLECTION_H
#define RPC_REFLECTION_H

#include "rpc/rpc.h"

/* For rpc_server_options.services. */
struct rpc_service rpc_reflection_service(void);

#endif
