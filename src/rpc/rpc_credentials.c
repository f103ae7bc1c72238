#include "rpc/core.h"

grpc_server_credentials *core_server_credentials(void)
{
	return grpc_insecure_server_credentials_create();
}

grpc_channel_credentials *core_channel_credentials(void)
{
	return grpc_insecure_credentials_create();
}
