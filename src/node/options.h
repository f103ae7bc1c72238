/*
 * The command line of simpler-l3d, parsed into a plain value. Parsing touches nothing outside: no
 * file, no name service, no environment.
 */
#ifndef NODE_OPTIONS_H
#define NODE_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog/policy.h"
#include "simpler/log.h"
#include "simpler/status.h"

#define OPTIONS_ADDRESS_MAX      255
#define OPTIONS_NODE_ID_MAX      63
#define OPTIONS_POOL_MIN         (UINT64_C(1) << 20)
#define OPTIONS_POOL_MAX         (UINT64_C(1) << 44)
#define OPTIONS_GRACE_MAX        86400u
#define OPTIONS_STOP_GRACE_MAX   86400000u
#define OPTIONS_DEVICE_MAX       31
#define OPTIONS_CHIPS_MAX        64u
#define OPTIONS_LIBRARY_DIRS_MAX 16
#define OPTIONS_TASKS_MAX        1024u
#define OPTIONS_SESSIONS_MAX     65536u
#define OPTIONS_TENSORS_MAX      65536u /* of a node */
#define OPTIONS_STREAMS_MAX      65536u
#define OPTIONS_RPC_MIN          (UINT64_C(1) << 27) /* two of the largest messages */
#define OPTIONS_IDLE_MAX         86400u
#define OPTIONS_PROCESSORS       UINT_MAX

struct options {
	char listen[OPTIONS_ADDRESS_MAX + 1];
	char node_id[OPTIONS_NODE_ID_MAX + 1]; /* empty: the daemon makes one up */
	/* OPTIONS_PROCESSORS: as many as there are. 0 only if there are chips. */
	unsigned sub_workers;
	unsigned chips;
	char device[OPTIONS_DEVICE_MAX + 1];
	uint64_t pool_bytes, heap_bytes;
	bool shm;        /* parents of this machine get the memory that their tensors are in */
	uint32_t lanes;  /* that are offered: 1 << simpler_lane */
	bool has_fabric; /* tensors can be reached by a fabric, */
	unsigned fabric; /* of this enum fabric_provider, or FABRIC_ANY, */
	const char *fabric_address; /* at this address of the machine; points into argv, too */
	simpler_log_level log_level;
	bool insecure;
	enum policy_mode code;
	const char *trust; /* points into argv; NULL: none */
	uint64_t module_bytes, store_bytes;
	const char *store; /* points into argv, as the others do; NULL: none */
	const char *library_dirs[OPTIONS_LIBRARY_DIRS_MAX];
	size_t library_dir_count;
	const char *port_file; /* points into argv; NULL: none */
	unsigned max_tasks, max_session_tasks, max_sessions, max_streams;
	unsigned max_session_tensors, max_session_grants;
	uint64_t rpc_bytes;
	unsigned idle_timeout;   /* seconds; 0: never */
	unsigned import_timeout; /* seconds */
	unsigned drain_grace;    /* seconds */
	unsigned stop_grace;     /* milliseconds */
	unsigned orphan_grace;   /* milliseconds */
};

enum options_action {
	OPTIONS_RUN,
	OPTIONS_HELP,
	OPTIONS_VERSION,
};

/*
 * Not thread-safe: getopt_long() keeps its place in globals. `argv` is not reordered.
 *
 * @return SIMPLER_EINVAL naming the option, the value and what is accepted; SIMPLER_EPERM for an
 *         address that others could reach, without --insecure.
 */
simpler_status options_parse(int argc, char **argv, struct options *out,
                             enum options_action *action);

/* What --help prints, one part behind the other. */
#define OPTIONS_USAGE_PARTS 2
extern const char *const options_usage[OPTIONS_USAGE_PARTS];

#endif
