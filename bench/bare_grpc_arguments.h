/* What src/rpc leaves out of gRPC, for floors to leave it out, too. */
#ifndef BENCH_BARE_GRPC_ARGUMENTS_H
#define BENCH_BARE_GRPC_ARGUMENTS_H

#include <grpc/grpc.h>

grpc_channel_args bare_grpc_arguments(void);

#endif
