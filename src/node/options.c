/*
 * The command line. A bad value is told with the option, the value and what would be accepted.
 * getopt_long() prints nothing itself: the message is ours, so that a test can read it.
 */
#include "node/options.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "fabric/fabric.h"
#include "node/address.h"
#include "tensor/pool.h"
#include "wire/lane.h"
#include "wire/tree.h"

/* In two, as a string constant may not be longer than compilers have to support. */
const char *const options_usage[OPTIONS_USAGE_PARTS] = {
	"Usage: simpler-l3d [OPTION]...\n"
	"Serve this machine as a level-3 node.\n"
	"\n"
	"  --listen ADDR          host:port, [v6]:port or unix:/path; port 0 picks a free one\n"
	"                         (default 127.0.0.1:5050)\n"
	"  --insecure             allow an ADDR that other machines can reach, although clients\n"
	"                         are not authenticated\n"
	"  --code WHOSE           the code that clients may bring: none; named, libraries that\n"
	"                         are installed here; signed, those and modules that a trusted\n"
	"                         key signed; any (default any on an address of this machine\n"
	"                         alone, named elsewhere)\n"
	"  --trust DIR            the trusted public keys, DIR/*.pub, and in DIR/revoked what is\n"
	"                         refused whatever --code says; needed for --code signed\n"
	"  --sub-workers N        worker processes for sub tasks, 1 to 256; with chips 0, too\n"
	"                         (default: the number of processors)\n"
	"  --chips N              worker processes for chip tasks, one a chip, at most 64\n"
	"                         (default 0)\n"
	"  --device NAME          the device that the chips are of, or the path of a shared\n"
	"                         object with its driver (default sim)\n"
	"  --pool-bytes N[K|M|G]  capacity of the tensor pool, 1M to 16384G (default 1G)\n"
	"  --shm on|off           whether parents of this machine share memory with the node\n"
	"                         (default on)\n"
	"  --lane LANE            how dispatches come: auto, which is all that there are, shm\n"
	"                         from parents of this machine, fabric, stream, or unary\n"
	"                         (default auto); calls are always served\n"
	"  --fabric PROVIDER      reach tensors by libfabric, too: off, verbs, tcp, or auto, the\n"
	"                         first that is there (default off)\n"
	"  --fabric-address ADDR  this machine's address for that, in numbers; one that others\n"
	"                         reach needs --insecure (default 127.0.0.1)\n",
	"  --heap N[K|M|G]        capacity of the heap for tensors that orchestration functions\n"
	"                         allocate, 1M to 16384G (default 1G)\n"
	"  --module-bytes N[K|M|G]\n"
	"                         how much memory the modules of callables may take, 1M to\n"
	"                         16384G (default 1G)\n"
	"  --store DIR            keep modules in DIR as well, which is made if need be, so\n"
	"                         that they are there after a restart\n"
	"  --store-bytes N[K|M|G] how much room they may take there, 1M to 16384G (default 4G)\n"
	"  --library-dir DIR      where the libraries of this node are, which clients register\n"
	"                         callables of by name; up to 16 times, searched in order\n"
	"  --node-id ID           the node's name, 1 to 63 characters of A-Z a-z 0-9 . _ : -\n"
	"                         (default: the host's name and a random suffix)\n"
	"  --port-file FILE       write the address to FILE when ready; removed at exit\n"
	"  --max-tasks N          tasks in flight at once, 1 to 1024 (default 1024)\n"
	"  --max-session-tasks N  of these, tasks of one session, 1 to 1024 (default 1024)\n"
	"  --max-sessions N       sessions attached at once, 1 to 65536 (default 4096)\n"
	"  --max-session-tensors N\n"
	"                         tensors stored here of one session, 1 to 65536 (default 32768)\n"
	"  --max-session-grants N tensors that one session exports, 1 to 4096 (default 2048)\n"
	"  --max-streams N        transfers and watches open at once, 1 to 65536 (default 256)\n"
	"  --rpc-bytes N[K|M|G]   memory of connections and of messages that come in, 128M to\n"
	"                         16384G (default 1G)\n"
	"  --idle-timeout SECONDS how long a connection may be without a call until it is closed,\n"
	"                         at most 86400; 0: for ever (default 600)\n"
	"  --import-timeout SECONDS\n"
	"                         how long another node may send nothing of a tensor that is\n"
	"                         imported from it, 1 to 86400 (default 60)\n"
	"  --drain-grace SECONDS  how long running tasks may take after SIGTERM, at most 86400\n"
	"                         (default 30)\n"
	"  --stop-grace MS        how long code may go on that was told to stop, in milliseconds,\n"
	"                         until it is killed, at most 86400000 (default 1000)\n"
	"  --orphan-grace MS      how long a task of a session runs on when its client's\n"
	"                         connection is gone, in milliseconds, at most 86400000\n"
	"                         (default 5000)\n"
	"  --log-level LEVEL      error, warn, info or debug (default info)\n"
	"  --help                 print this and exit\n"
	"  --version              print the version and exit\n",
};

#define LANE_BIT(name) (UINT32_C(1) << SIMPLER_LANE_##name)
#define OPTIONS_LANES                                                                              \
	(LANE_BIT(UNARY) | LANE_BIT(STREAM) | LANE_BIT(SHM) | LANE_BIT(FABRIC)) /* that there are  \
	                                                                         */

#define CODE_BY_ADDRESS ((enum policy_mode) - 1) /* --code was not given */

enum option_id {
	OPTION_LISTEN = 256, /* above all characters: there are no short options */
	OPTION_INSECURE,
	OPTION_CODE,
	OPTION_TRUST,
	OPTION_SUB_WORKERS,
	OPTION_CHIPS,
	OPTION_DEVICE,
	OPTION_POOL_BYTES,
	OPTION_SHM,
	OPTION_LANE,
	OPTION_FABRIC,
	OPTION_FABRIC_ADDRESS,
	OPTION_HEAP,
	OPTION_MODULE_BYTES,
	OPTION_STORE,
	OPTION_STORE_BYTES,
	OPTION_LIBRARY_DIR,
	OPTION_NODE_ID,
	OPTION_PORT_FILE,
	OPTION_MAX_TASKS,
	OPTION_MAX_SESSION_TASKS,
	OPTION_MAX_SESSIONS,
	OPTION_MAX_SESSION_TENSORS,
	OPTION_MAX_SESSION_GRANTS,
	OPTION_MAX_STREAMS,
	OPTION_RPC_BYTES,
	OPTION_IDLE_TIMEOUT,
	OPTION_IMPORT_TIMEOUT,
	OPTION_DRAIN_GRACE,
	OPTION_STOP_GRACE,
	OPTION_ORPHAN_GRACE,
	OPTION_LOG_LEVEL,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option long_options[] = {
	{ "listen", required_argument, NULL, OPTION_LISTEN },
	{ "insecure", no_argument, NULL, OPTION_INSECURE },
	{ "code", required_argument, NULL, OPTION_CODE },
	{ "trust", required_argument, NULL, OPTION_TRUST },
	{ "sub-workers", required_argument, NULL, OPTION_SUB_WORKERS },
	{ "chips", required_argument, NULL, OPTION_CHIPS },
	{ "device", required_argument, NULL, OPTION_DEVICE },
	{ "pool-bytes", required_argument, NULL, OPTION_POOL_BYTES },
	{ "shm", required_argument, NULL, OPTION_SHM },
	{ "lane", required_argument, NULL, OPTION_LANE },
	{ "fabric", required_argument, NULL, OPTION_FABRIC },
	{ "fabric-address", required_argument, NULL, OPTION_FABRIC_ADDRESS },
	{ "heap", required_argument, NULL, OPTION_HEAP },
	{ "module-bytes", required_argument, NULL, OPTION_MODULE_BYTES },
	{ "store", required_argument, NULL, OPTION_STORE },
	{ "store-bytes", required_argument, NULL, OPTION_STORE_BYTES },
	{ "library-dir", required_argument, NULL, OPTION_LIBRARY_DIR },
	{ "node-id", required_argument, NULL, OPTION_NODE_ID },
	{ "port-file", required_argument, NULL, OPTION_PORT_FILE },
	{ "max-tasks", required_argument, NULL, OPTION_MAX_TASKS },
	{ "max-session-tasks", required_argument, NULL, OPTION_MAX_SESSION_TASKS },
	{ "max-sessions", required_argument, NULL, OPTION_MAX_SESSIONS },
	{ "max-session-tensors", required_argument, NULL, OPTION_MAX_SESSION_TENSORS },
	{ "max-session-grants", required_argument, NULL, OPTION_MAX_SESSION_GRANTS },
	{ "max-streams", required_argument, NULL, OPTION_MAX_STREAMS },
	{ "rpc-bytes", required_argument, NULL, OPTION_RPC_BYTES },
	{ "idle-timeout", required_argument, NULL, OPTION_IDLE_TIMEOUT },
	{ "import-timeout", required_argument, NULL, OPTION_IMPORT_TIMEOUT },
	{ "drain-grace", required_argument, NULL, OPTION_DRAIN_GRACE },
	{ "stop-grace", required_argument, NULL, OPTION_STOP_GRACE },
	{ "orphan-grace", required_argument, NULL, OPTION_ORPHAN_GRACE },
	{ "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ NULL, 0, NULL, 0 },
};

static simpler_status refuse(const char *option, const char *value, const char *accepted)
{
	return error_raise(SIMPLER_EINVAL, "--%s '%s': expected %s", option, value, accepted);
}

/* Decimal digits into `*out`; `*rest` is what follows them. */
static bool parse_digits(const char *text, uint64_t *out, const char **rest)
{
	uint64_t value = 0;
	size_t digits = strspn(text, "0123456789");

	for (size_t i = 0; i < digits; i++) {
		if (!checked_mul(value, 10, &value) ||
		    !checked_add(value, (uint64_t)(text[i] - '0'), &value))
			return false;
	}
	*out = value;
	*rest = text + digits;
	return digits > 0;
}

static bool parse_count(const char *text, uint64_t low, uint64_t high, unsigned *out)
{
	const char *rest;
	uint64_t value;

	if (!parse_digits(text, &value, &rest) || *rest != '\0' || value < low || value > high)
		return false;
	*out = (unsigned)value;
	return true;
}

static bool parse_bytes(const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
	static const char units[] = "KMG";
	uint64_t value, unit = 1;
	const char *rest, *found;

	if (!parse_digits(text, &value, &rest))
		return false;
	if (*rest != '\0') {
		found = strchr(units, *rest);
		if (!found || rest[1] != '\0')
			return false;
		unit = UINT64_C(1) << (10 * (found - units + 1));
	}
	if (!checked_mul(value, unit, &value) || value < low || value > high)
		return false;
	*out = value;
	return true;
}

static bool parse_switch(const char *text, bool *out)
{
	*out = strcmp(text, "on") == 0;
	return *out || strcmp(text, "off") == 0;
}

static bool parse_lane(const char *text, uint32_t *lanes)
{
	simpler_lane lane;

	if (!lane_by_name(text, &lane))
		return false;
	*lanes = lane == SIMPLER_LANE_AUTO
	                 ? OPTIONS_LANES
	                 : OPTIONS_LANES & (LANE_BIT(UNARY) | UINT32_C(1) << lane);
	return (OPTIONS_LANES >> lane & 1) != 0 || lane == SIMPLER_LANE_AUTO;
}

static bool parse_fabric(const char *text, struct options *out)
{
	static const struct {
		const char *text;
		bool has;
		unsigned provider;
	} choices[] = { { "off", false, FABRIC_ANY },
		        { "auto", true, FABRIC_ANY },
		        { "verbs", true, FABRIC_VERBS },
		        { "tcp", true, FABRIC_TCP } };

	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
		if (strcmp(text, choices[i].text) != 0)
			continue;
		out->has_fabric = choices[i].has;
		out->fabric = choices[i].provider;
		return true;
	}
	return false;
}

static bool parse_node_id(const char *text, char out[OPTIONS_NODE_ID_MAX + 1])
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._:-";
	size_t size = strlen(text);

	if (size == 0 || size > OPTIONS_NODE_ID_MAX || strspn(text, allowed) != size)
		return false;
	memcpy(out, text, size + 1);
	return true;
}

static bool parse_device(const char *text, char out[OPTIONS_DEVICE_MAX + 1])
{
	size_t size = strlen(text);

	if (size == 0 || size > OPTIONS_DEVICE_MAX)
		return false;
	for (size_t i = 0; i < size; i++) {
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	}
	memcpy(out, text, size + 1);
	return true;
}

static simpler_status parse_listen(const char *text, struct options *out)
{
	if (strlen(text) > OPTIONS_ADDRESS_MAX || address_classify(text) == ADDRESS_INVALID)
		return refuse("listen", text,
		              "host:port, [IPv6]:port or unix:/path, with a port of 0 to 65535");
	snprintf(out->listen, sizeof(out->listen), "%s", text);
	return SIMPLER_OK;
}

static simpler_status add_library_dir(const char *value, struct options *out)
{
	if (value[0] == '\0')
		return refuse("library-dir", value, "a directory");
	if (out->library_dir_count == OPTIONS_LIBRARY_DIRS_MAX)
		return refuse("library-dir", value, "at most 16 of them");
	out->library_dirs[out->library_dir_count++] = value;
	return SIMPLER_OK;
}

/* Options that are a number: of what, or of bytes with a unit. */
static const struct {
	const char *name, *accepted;
	uint64_t low, high;
	size_t at; /* in struct options: an unsigned, or a uint64_t of bytes */
	int id;
	bool bytes;
} numbers[] = {
#define COUNT(id, name, low, high, field, accepted)                                                \
	{                                                                                          \
		name, accepted, low, high, offsetof(struct options, field), id, false              \
	}
#define BYTES(id, name, low, field, least)                                                         \
	{                                                                                          \
		name, "bytes from " least " to 16384G, such as 512M", low, OPTIONS_POOL_MAX,       \
			offsetof(struct options, field), id, true                                  \
	}
	COUNT(OPTION_SUB_WORKERS, "sub-workers", 0, TREE_MAX_CHILDREN, sub_workers,
	      "a number from 1 to 256"),
	COUNT(OPTION_CHIPS, "chips", 0, OPTIONS_CHIPS_MAX, chips, "a number from 0 to 64"),
	COUNT(OPTION_MAX_TASKS, "max-tasks", 1, OPTIONS_TASKS_MAX, max_tasks,
	      "a number from 1 to 1024"),
	COUNT(OPTION_MAX_SESSION_TASKS, "max-session-tasks", 1, OPTIONS_TASKS_MAX,
	      max_session_tasks, "a number from 1 to 1024"),
	COUNT(OPTION_MAX_SESSIONS, "max-sessions", 1, OPTIONS_SESSIONS_MAX, max_sessions,
	      "a number from 1 to 65536"),
	COUNT(OPTION_MAX_SESSION_TENSORS, "max-session-tensors", 1, OPTIONS_TENSORS_MAX,
	      max_session_tensors, "a number from 1 to 65536"),
	COUNT(OPTION_MAX_SESSION_GRANTS, "max-session-grants", 1, POOL_MAX_GRANTS,
	      max_session_grants, "a number from 1 to 4096"),
	COUNT(OPTION_MAX_STREAMS, "max-streams", 1, OPTIONS_STREAMS_MAX, max_streams,
	      "a number from 1 to 65536"),
	COUNT(OPTION_IDLE_TIMEOUT, "idle-timeout", 0, OPTIONS_IDLE_MAX, idle_timeout,
	      "seconds from 0 to 86400"),
	COUNT(OPTION_IMPORT_TIMEOUT, "import-timeout", 1, OPTIONS_IDLE_MAX, import_timeout,
	      "seconds from 1 to 86400"),
	COUNT(OPTION_DRAIN_GRACE, "drain-grace", 0, OPTIONS_GRACE_MAX, drain_grace,
	      "seconds from 0 to 86400"),
	COUNT(OPTION_STOP_GRACE, "stop-grace", 0, OPTIONS_STOP_GRACE_MAX, stop_grace,
	      "milliseconds from 0 to 86400000"),
	COUNT(OPTION_ORPHAN_GRACE, "orphan-grace", 0, OPTIONS_STOP_GRACE_MAX, orphan_grace,
	      "milliseconds from 0 to 86400000"),
	BYTES(OPTION_POOL_BYTES, "pool-bytes", OPTIONS_POOL_MIN, pool_bytes, "1M"),
	BYTES(OPTION_HEAP, "heap", OPTIONS_POOL_MIN, heap_bytes, "1M"),
	BYTES(OPTION_MODULE_BYTES, "module-bytes", OPTIONS_POOL_MIN, module_bytes, "1M"),
	BYTES(OPTION_STORE_BYTES, "store-bytes", OPTIONS_POOL_MIN, store_bytes, "1M"),
	BYTES(OPTION_RPC_BYTES, "rpc-bytes", OPTIONS_RPC_MIN, rpc_bytes, "128M"),
#undef COUNT
#undef BYTES
};

/* False when the option is no number. */
static bool apply_number(int id, const char *value, struct options *out, simpler_status *status)
{
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		void *field = (uint8_t *)out + numbers[i].at;
		bool good;

		if (numbers[i].id != id)
			continue;
		good = numbers[i].bytes
		               ? parse_bytes(value, numbers[i].low, numbers[i].high, field)
		               : parse_count(value, numbers[i].low, numbers[i].high, field);
		*status = good ? SIMPLER_OK : refuse(numbers[i].name, value, numbers[i].accepted);
		return true;
	}
	return false;
}

static simpler_status apply(int id, const char *value, struct options *out)
{
	simpler_status status;

	if (apply_number(id, value, out, &status))
		return status;
	switch (id) {
	case OPTION_LISTEN:
		return parse_listen(value, out);
	case OPTION_INSECURE:
		out->insecure = true;
		return SIMPLER_OK;
	case OPTION_CODE:
		return policy_parse_mode(value, &out->code)
		               ? SIMPLER_OK
		               : refuse("code", value, "none, named, signed or any");
	case OPTION_TRUST:
		out->trust = value;
		return value[0] != '\0' ? SIMPLER_OK : refuse("trust", value, "a directory");
	case OPTION_DEVICE:
		return parse_device(value, out->device)
		               ? SIMPLER_OK
		               : refuse("device", value,
		                        "a name or a path of 1 to 31 printable characters");
	case OPTION_SHM:
		return parse_switch(value, &out->shm) ? SIMPLER_OK
		                                      : refuse("shm", value, "on or off");
	case OPTION_LANE:
		return parse_lane(value, &out->lanes)
		               ? SIMPLER_OK
		               : refuse("lane", value, "auto, unary, stream, shm or fabric");
	case OPTION_FABRIC:
		return parse_fabric(value, out)
		               ? SIMPLER_OK
		               : refuse("fabric", value, "off, auto, verbs or tcp");
	case OPTION_FABRIC_ADDRESS:
		out->fabric_address = value;
		return value[0] != '\0' ? SIMPLER_OK
		                        : refuse("fabric-address", value, "an address");
	case OPTION_STORE:
		out->store = value;
		return value[0] != '\0' ? SIMPLER_OK : refuse("store", value, "a directory");
	case OPTION_LIBRARY_DIR:
		return add_library_dir(value, out);
	case OPTION_NODE_ID:
		return parse_node_id(value, out->node_id)
		               ? SIMPLER_OK
		               : refuse("node-id", value,
		                        "1 to 63 characters of A-Z a-z 0-9 . _ : -");
	case OPTION_PORT_FILE:
		out->port_file = value;
		return value[0] != '\0' ? SIMPLER_OK : refuse("port-file", value, "a path");
	default:
		return log_parse_level(value, &out->log_level)
		               ? SIMPLER_OK
		               : refuse("log-level", value, "error, warn, info or debug");
	}
}

static simpler_status refuse_option(int found, char **argv)
{
	if (found == ':')
		return error_raise(SIMPLER_EINVAL, "%s needs a value; see --help",
		                   argv[optind - 1]);
	if (optopt >= OPTION_LISTEN)
		return error_raise(SIMPLER_EINVAL, "%s: this option takes no value; see --help",
		                   argv[optind - 1]);
	if (optopt != 0)
		return error_raise(SIMPLER_EINVAL, "-%c is no option of simpler-l3d; see --help",
		                   optopt);
	return error_raise(SIMPLER_EINVAL, "%s is no option of simpler-l3d; see --help",
	                   argv[optind - 1]);
}

/* Code of anybody is for those who are on this machine anyway. */
static simpler_status settle_code(struct options *options)
{
	if (options->code == CODE_BY_ADDRESS)
		options->code = address_classify(options->listen) == ADDRESS_LOCAL ? POLICY_ANY
		                                                                   : POLICY_NAMED;
	if (options->code == POLICY_SIGNED && !options->trust)
		return error_raise(SIMPLER_EINVAL,
		                   "--code signed needs --trust DIR, the directory with the public "
		                   "keys whose signatures count");
	return SIMPLER_OK;
}

/* There is no authentication, so whoever can connect may do whatever a client may. */
static simpler_status check_reach(const struct options *options)
{
	static const char *const code[] = {
		[POLICY_NONE] = "run no code here",
		[POLICY_NAMED] = "run the libraries that are installed here",
		[POLICY_SIGNED] = "run those and modules that a trusted key signed",
		[POLICY_ANY] = "run any code here",
	};

	if (options->insecure || address_classify(options->listen) == ADDRESS_LOCAL)
		return SIMPLER_OK;
	return error_raise(
		SIMPLER_EPERM,
		"--listen '%s': other machines could reach this address, and clients are not "
		"authenticated: with --code %s whoever connects can %s, and read and change every "
		"tensor; listen on 127.0.0.1, [::1] or unix:/path and let clients come through a "
		"tunnel, or give --insecure as well if everybody on that network may do that",
		options->listen, policy_mode_name(options->code), code[options->code]);
}

/* Keys of tensors are all that it asks for, and it encrypts nothing. */
static simpler_status check_fabric(const struct options *options)
{
	enum address_reach reach = address_classify_number(options->fabric_address);

	if (reach == ADDRESS_INVALID)
		return refuse("fabric-address", options->fabric_address,
		              "an address in numbers, such as 192.0.2.1");
	if (reach == ADDRESS_LOCAL || !options->has_fabric || options->insecure)
		return SIMPLER_OK;
	return error_raise(
		SIMPLER_EPERM,
		"--fabric-address '%s': other machines could reach this address, peers are not "
		"authenticated by a fabric, and nothing is encrypted: whoever guesses or overhears "
		"a "
		"key can read and change that tensor; give --insecure as well if everybody on that "
		"network may do that",
		options->fabric_address);
}

static simpler_status check_workers(const struct options *options)
{
	if (options->sub_workers == OPTIONS_PROCESSORS)
		return SIMPLER_OK;
	if (options->sub_workers == 0 && options->chips == 0)
		return error_raise(SIMPLER_EINVAL,
		                   "--sub-workers '0': expected a number from 1 to 256, or --chips "
		                   "as well: a node without workers runs nothing");
	if (options->sub_workers + options->chips > TREE_MAX_CHILDREN)
		return error_raise(SIMPLER_EINVAL,
		                   "--sub-workers '%u' and --chips '%u': together they may be at "
		                   "most %u",
		                   options->sub_workers, options->chips, TREE_MAX_CHILDREN);
	return SIMPLER_OK;
}

static void set_defaults(struct options *out)
{
	memset(out, 0, sizeof(*out));
	snprintf(out->listen, sizeof(out->listen), "127.0.0.1:5050");
	out->pool_bytes = UINT64_C(1) << 30;
	out->shm = true;
	out->lanes = OPTIONS_LANES;
	out->fabric_address = "127.0.0.1";
	out->log_level = SIMPLER_LOG_INFO;
	out->max_tasks = out->max_session_tasks = OPTIONS_TASKS_MAX;
	out->max_sessions = 4096;
	/* Nobody takes all of them. */
	out->max_session_tensors = OPTIONS_TENSORS_MAX / 2;
	out->max_session_grants = POOL_MAX_GRANTS / 2;
	out->max_streams = 256;
	out->rpc_bytes = UINT64_C(1) << 30;
	out->idle_timeout = 600;
	out->import_timeout = 60;
	out->drain_grace = 30;
	out->sub_workers = OPTIONS_PROCESSORS;
	snprintf(out->device, sizeof(out->device), "sim");
	out->heap_bytes = UINT64_C(1) << 30;
	out->module_bytes = UINT64_C(1) << 30;
	out->store_bytes = UINT64_C(4) << 30;
	out->stop_grace = 1000;
	out->orphan_grace = 5000;
	out->code = CODE_BY_ADDRESS;
}

simpler_status options_parse(int argc, char **argv, struct options *out,
                             enum options_action *action)
{
	simpler_status status;
	int found;

	set_defaults(out);
	*action = OPTIONS_RUN;
	optind = 0; /* the C library's way to start over */
	opterr = 0;
	/* '+': stop at the first operand, and leave argv in its order. */
	while ((found = getopt_long(argc, argv, "+:", long_options, NULL)) != -1) {
		if (found == '?' || found == ':')
			return refuse_option(found, argv);
		if (found == OPTION_HELP || found == OPTION_VERSION) {
			*action = found == OPTION_HELP ? OPTIONS_HELP : OPTIONS_VERSION;
			return SIMPLER_OK;
		}
		status = apply(found, optarg, out);
		if (status != SIMPLER_OK)
			return status;
	}
	if (optind < argc)
		return error_raise(SIMPLER_EINVAL,
		                   "'%s': simpler-l3d takes options only; see --help",
		                   argv[optind]);
	status = check_workers(out);
	if (status == SIMPLER_OK)
		status = settle_code(out);
	if (status == SIMPLER_OK)
		status = check_reach(out);
	return status == SIMPLER_OK ? check_fabric(out) : status;
}
