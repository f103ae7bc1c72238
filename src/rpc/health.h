/*
 * grpc.health.v1.Health: how load balancers, orchestrators and people ask whether a server serves.
 * Thread-safe.
 */
#ifndef RPC_HEALTH_H
#define RPC_HEALTH_H

#include "rpc/rpc.h"

enum rpc_health_state { RPC_HEALTH_UNKNOWN, RPC_HEALTH_SERVING, RPC_HEALTH_NOT_SERVING };

/* Whether the service serves; "" asks for the server as a whole; UNKNOWN when there is no such
 * service. Called from any thread, with a lock of this object held: it answers at once and does
 * not call in here. */
typedef enum rpc_health_state rpc_health_ask(void *context, const char *service);

#define RPC_HEALTH_NAME_MAX 255

/* The service that a HealthCheckRequest names; false for what is none, and for a name that is too
 * long. A pure function. */
bool rpc_health_decode(const uint8_t *data, size_t size, char service[RPC_HEALTH_NAME_MAX + 1]);

struct rpc_health;
simpler_status rpc_health_create(rpc_health_ask *ask, void *context, struct rpc_health **out);
/* For rpc_server_options.services. */
struct rpc_service rpc_health_service(struct rpc_health *health);
/* An answer may have changed: ask again for every watcher and tell those whose answer did. */
void rpc_health_changed(struct rpc_health *health);
/* Before the server stops, which waits for its calls: end those of the watchers, and take no new
 * ones. */
void rpc_health_close(struct rpc_health *health);
/* After the server has stopped. NULL is allowed. */
void rpc_health_destroy(struct rpc_health *health);

#endif
