/* The daemon's command line: what is accepted, and what is said about what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/address.h"
#include "node/options.h"

#define MAX_WORDS 28

/* Parse "simpler-l3d" and the given words; the list ends with NULL. */
static simpler_status parse(const char *const *words, struct options *out,
                            enum options_action *action)
{
	char *argv[MAX_WORDS + 2] = { (char *)(uintptr_t) "simpler-l3d" };
	int count = 1;

	for (; words[count - 1]; count++)
		argv[count] = (char *)(uintptr_t)words[count - 1];
	return options_parse(count, argv, out, action);
}

static void defaults_hold_without_options(void **state)
{
	const char *const none[] = { NULL };
	enum options_action action;
	struct options options;

	(void)state;
	assert_int_equal(parse(none, &options, &action), SIMPLER_OK);
	assert_int_equal(action, OPTIONS_RUN);
	assert_string_equal(options.listen, "127.0.0.1:5050");
	assert_string_equal(options.node_id, "");
	assert_int_equal(options.sub_workers, OPTIONS_PROCESSORS);
	assert_int_equal(options.chips, 0);
	assert_true(options.shm);
	assert_string_equal(options.device, "sim");
	assert_int_equal(options.pool_bytes, 1 << 30);
	assert_int_equal(options.heap_bytes, 1 << 30);
	assert_int_equal(options.log_level, SIMPLER_LOG_INFO);
	assert_null(options.port_file);
	assert_int_equal(options.drain_grace, 30);
	assert_int_equal(options.stop_grace, 1000);
	assert_int_equal(options.orphan_grace, 5000);
	assert_int_equal(options.code, POLICY_ANY);
	assert_null(options.trust);
	assert_int_equal(options.max_tasks, 1024);
	assert_int_equal(options.max_session_tasks, 1024);
	assert_int_equal(options.max_sessions, 4096);
	assert_int_equal(options.max_streams, 256);
	assert_int_equal(options.rpc_bytes, 1 << 30);
	assert_int_equal(options.idle_timeout, 600);
	assert_int_equal(options.import_timeout, 60);
}

static void all_options_together(void **state)
{
	const char *const words[] = { "--listen=0.0.0.0:0",
		                      "--insecure",
		                      "--sub-workers=3",
		                      "--pool-bytes=512M",
		                      "--shm=off",
		                      "--node-id=rack7:n1",
		                      "--drain-grace=5",
		                      "--port-file=/run/p",
		                      "--log-level=debug",
		                      "--chips=2",
		                      "--device=./driver.so",
		                      "--heap=2G",
		                      "--stop-grace=250",
		                      "--orphan-grace=750",
		                      "--code=signed",
		                      "--trust=/etc/simpler/trust",
		                      "--max-tasks=1",
		                      "--max-session-tasks=2",
		                      "--max-sessions=3",
		                      "--max-session-tensors=5",
		                      "--max-session-grants=6",
		                      "--max-streams=4",
		                      "--rpc-bytes=2G",
		                      "--idle-timeout=5",
		                      "--import-timeout=6",
		                      NULL };
	enum options_action action;
	struct options options;

	(void)state;
	assert_int_equal(parse(words, &options, &action), SIMPLER_OK);
	assert_string_equal(options.listen, "0.0.0.0:0");
	assert_string_equal(options.node_id, "rack7:n1");
	assert_int_equal(options.sub_workers, 3);
	assert_int_equal(options.pool_bytes, 512 << 20);
	assert_false(options.shm);
	assert_int_equal(options.log_level, SIMPLER_LOG_DEBUG);
	assert_string_equal(options.port_file, "/run/p");
	assert_int_equal(options.drain_grace, 5);
	assert_int_equal(options.chips, 2);
	assert_string_equal(options.device, "./driver.so");
	assert_int_equal(options.heap_bytes, UINT64_C(2) << 30);
	assert_int_equal(options.stop_grace, 250);
	assert_int_equal(options.orphan_grace, 750);
	assert_int_equal(options.code, POLICY_SIGNED);
	assert_string_equal(options.trust, "/etc/simpler/trust");
	assert_int_equal(options.max_tasks, 1);
	assert_int_equal(options.max_session_tasks, 2);
	assert_int_equal(options.max_sessions, 3);
	assert_int_equal(options.max_session_tensors, 5);
	assert_int_equal(options.max_session_grants, 6);
	assert_int_equal(options.max_streams, 4);
	assert_int_equal(options.rpc_bytes, UINT64_C(2) << 30);
	assert_int_equal(options.idle_timeout, 5);
	assert_int_equal(options.import_timeout, 6);
}

static const struct {
	const char *words[7];
	enum policy_mode code;
} codes[] = {
	{ { "--listen", "127.0.0.1:0" }, POLICY_ANY },
	{ { "--listen", "unix:/run/node.sock" }, POLICY_ANY },
	{ { "--listen", "0.0.0.0:0", "--insecure" }, POLICY_NAMED },
	{ { "--insecure", "--listen", "node7:5050" }, POLICY_NAMED },
	{ { "--listen", "0.0.0.0:0", "--insecure", "--code", "any" }, POLICY_ANY },
	{ { "--code", "any", "--listen", "[::]:0", "--insecure" }, POLICY_ANY },
	{ { "--code", "none" }, POLICY_NONE },
	{ { "--code", "named" }, POLICY_NAMED },
	{ { "--code", "signed", "--trust", "." }, POLICY_SIGNED },
};

static void R18_only_this_machine_may_bring_any_code_unless_told_otherwise(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		enum options_action action;
		struct options options;

		assert_int_equal(parse(codes[i].words, &options, &action), SIMPLER_OK);
		assert_int_equal(options.code, codes[i].code);
	}
}

static void parsing_starts_over_each_time(void **state)
{
	const char *const first[] = { "--sub-workers", "9", NULL };
	const char *const second[] = { "--drain-grace", "1", NULL };
	enum options_action action;
	struct options options;

	(void)state;
	assert_int_equal(parse(first, &options, &action), SIMPLER_OK);
	assert_int_equal(parse(second, &options, &action), SIMPLER_OK);
	assert_int_equal(options.sub_workers, OPTIONS_PROCESSORS);
	assert_int_equal(options.drain_grace, 1);
}

static void with_chips_no_sub_workers_are_needed(void **state)
{
	const char *const words[] = { "--sub-workers", "0", "--chips", "1", NULL };
	const char *const most[] = { "--sub-workers", "192", "--chips", "64", NULL };
	enum options_action action;
	struct options options;

	(void)state;
	assert_int_equal(parse(words, &options, &action), SIMPLER_OK);
	assert_int_equal(options.sub_workers, 0);
	assert_int_equal(options.chips, 1);
	assert_int_equal(parse(most, &options, &action), SIMPLER_OK);
}

static void help_and_version_win_over_what_follows(void **state)
{
	const char *const help[] = { "--help", "--nonsense", NULL };
	const char *const version[] = { "--version", NULL };
	enum options_action action;
	struct options options;

	(void)state;
	assert_int_equal(parse(help, &options, &action), SIMPLER_OK);
	assert_int_equal(action, OPTIONS_HELP);
	assert_int_equal(parse(version, &options, &action), SIMPLER_OK);
	assert_int_equal(action, OPTIONS_VERSION);
}

/* Every option that the parser knows is in the usage. */
static void usage_names_every_option(void **state)
{
	static const char *const names[] = { "--listen",        "--insecure",     "--sub-workers",
		                             "--pool-bytes",    "--node-id",      "--port-file",
		                             "--log-level",     "--help",         "--version",
		                             "--drain-grace",   "--stop-grace",   "--chips",
		                             "--device",        "--heap",         "--code",
		                             "--trust",         "--orphan-grace", "--fabric",
		                             "--fabric-address" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_true(strstr(options_usage[0], names[i]) ||
		            strstr(options_usage[1], names[i]));
}

static const struct {
	const char *words[5];
	simpler_status status;
	const char *told[3]; /* all of these are in the message */
} refusals[] = {
	{ { "--fabric", "sockets" },
	  SIMPLER_EINVAL,
	  { "--fabric", "'sockets'", "off, auto, verbs or tcp" } },
	{ { "--fabric-address", "here" },
	  SIMPLER_EINVAL,
	  { "--fabric-address", "'here'", "in numbers" } },
	{ { "--fabric", "tcp", "--fabric-address", "192.0.2.1" },
	  SIMPLER_EPERM,
	  { "--fabric-address '192.0.2.1'", "not authenticated", "--insecure" } },
	{ { "--sub-workers", "0" }, SIMPLER_EINVAL, { "--sub-workers", "'0'", "1 to 256" } },
	{ { "--sub-workers", "257" }, SIMPLER_EINVAL, { "--sub-workers", "'257'", "1 to 256" } },
	{ { "--sub-workers", "-1" }, SIMPLER_EINVAL, { "--sub-workers", "'-1'" } },
	{ { "--sub-workers", "4x" }, SIMPLER_EINVAL, { "--sub-workers", "'4x'" } },
	{ { "--sub-workers", "" }, SIMPLER_EINVAL, { "--sub-workers", "''" } },
	{ { "--sub-workers", "18446744073709551617" }, SIMPLER_EINVAL, { "--sub-workers" } },
	{ { "--sub-workers", "0", "--chips", "0" },
	  SIMPLER_EINVAL,
	  { "--sub-workers", "--chips" } },
	{ { "--sub-workers", "193", "--chips", "64" }, SIMPLER_EINVAL, { "'193'", "'64'", "256" } },
	{ { "--chips", "65" }, SIMPLER_EINVAL, { "--chips", "'65'", "0 to 64" } },
	{ { "--device", "" }, SIMPLER_EINVAL, { "--device", "1 to 31" } },
	{ { "--device", "a b" }, SIMPLER_EINVAL, { "--device", "'a b'" } },
	{ { "--device", "01234567890123456789012345678901" },
	  SIMPLER_EINVAL,
	  { "--device", "1 to 31" } },
	{ { "--heap", "1023K" }, SIMPLER_EINVAL, { "--heap", "'1023K'", "1M" } },
	{ { "--heap", "16385G" }, SIMPLER_EINVAL, { "--heap", "16384G" } },
	{ { "--stop-grace", "86400001" }, SIMPLER_EINVAL, { "--stop-grace", "86400000" } },
	{ { "--stop-grace", "-1" }, SIMPLER_EINVAL, { "--stop-grace", "'-1'" } },
	{ { "--max-tasks", "0" }, SIMPLER_EINVAL, { "--max-tasks", "'0'", "1 to 1024" } },
	{ { "--max-tasks", "1025" }, SIMPLER_EINVAL, { "--max-tasks", "'1025'" } },
	{ { "--max-session-tasks", "many" }, SIMPLER_EINVAL, { "--max-session-tasks", "'many'" } },
	{ { "--max-sessions", "65537" }, SIMPLER_EINVAL, { "--max-sessions", "1 to 65536" } },
	{ { "--max-session-tensors", "65537" },
	  SIMPLER_EINVAL,
	  { "--max-session-tensors", "1 to 65536" } },
	{ { "--max-session-grants", "4097" },
	  SIMPLER_EINVAL,
	  { "--max-session-grants", "1 to 4096" } },
	{ { "--max-streams", "0" }, SIMPLER_EINVAL, { "--max-streams", "1 to 65536" } },
	{ { "--rpc-bytes", "127M" }, SIMPLER_EINVAL, { "--rpc-bytes", "'127M'", "128M" } },
	{ { "--rpc-bytes", "much" }, SIMPLER_EINVAL, { "--rpc-bytes", "'much'" } },
	{ { "--import-timeout", "0" }, SIMPLER_EINVAL, { "--import-timeout", "1 to 86400" } },
	{ { "--idle-timeout", "86401" }, SIMPLER_EINVAL, { "--idle-timeout", "0 to 86400" } },
	{ { "--shm", "yes" }, SIMPLER_EINVAL, { "--shm", "'yes'", "on or off" } },
	{ { "--shm", "" }, SIMPLER_EINVAL, { "--shm", "on or off" } },
	{ { "--orphan-grace", "86400001" }, SIMPLER_EINVAL, { "--orphan-grace", "86400000" } },
	{ { "--pool-bytes", "1023K" }, SIMPLER_EINVAL, { "--pool-bytes", "'1023K'", "1M" } },
	{ { "--pool-bytes", "16385G" }, SIMPLER_EINVAL, { "--pool-bytes", "16384G" } },
	{ { "--pool-bytes", "99999999999999999G" }, SIMPLER_EINVAL, { "--pool-bytes" } },
	{ { "--pool-bytes", "1T" }, SIMPLER_EINVAL, { "--pool-bytes", "'1T'" } },
	{ { "--pool-bytes", "1Gb" }, SIMPLER_EINVAL, { "--pool-bytes", "'1Gb'" } },
	{ { "--pool-bytes", "G" }, SIMPLER_EINVAL, { "--pool-bytes", "'G'" } },
	{ { "--pool-bytes", "-1G" }, SIMPLER_EINVAL, { "--pool-bytes", "'-1G'" } },
	{ { "--node-id", "" }, SIMPLER_EINVAL, { "--node-id", "1 to 63" } },
	{ { "--node-id", "a b" }, SIMPLER_EINVAL, { "--node-id", "'a b'" } },
	{ { "--node-id", "0123456789012345678901234567890123456789012345678901234567890123" },
	  SIMPLER_EINVAL,
	  { "--node-id", "1 to 63" } },
	{ { "--drain-grace", "86401" }, SIMPLER_EINVAL, { "--drain-grace", "86400" } },
	{ { "--log-level", "loud" }, SIMPLER_EINVAL, { "--log-level", "'loud'", "debug" } },
	{ { "--port-file", "" }, SIMPLER_EINVAL, { "--port-file" } },
	{ { "--listen", "" }, SIMPLER_EINVAL, { "--listen", "host:port" } },
	{ { "--listen", "127.0.0.1" }, SIMPLER_EINVAL, { "--listen", "'127.0.0.1'" } },
	{ { "--listen", "127.0.0.1:65536" }, SIMPLER_EINVAL, { "--listen", "65535" } },
	{ { "--listen", "unix:relative" }, SIMPLER_EINVAL, { "--listen", "unix:/path" } },
	{ { "--listen", "0.0.0.0:5050" },
	  SIMPLER_EPERM,
	  { "--listen", "--insecure", "127.0.0.1" } },
	{ { "--listen", "10.1.2.3:5050" }, SIMPLER_EPERM, { "'10.1.2.3:5050'", "--insecure" } },
	{ { "--listen", "[::]:5050" }, SIMPLER_EPERM, { "--insecure", "--code named" } },
	{ { "--listen", "[::]:5050", "--code", "any" },
	  SIMPLER_EPERM,
	  { "--insecure", "--code any", "run any code here" } },
	{ { "--code", "" }, SIMPLER_EINVAL, { "--code", "''", "none, named, signed or any" } },
	{ { "--code", "Any" }, SIMPLER_EINVAL, { "--code", "'Any'" } },
	{ { "--code", "signed" }, SIMPLER_EINVAL, { "--code signed", "--trust DIR" } },
	{ { "--trust", "" }, SIMPLER_EINVAL, { "--trust", "a directory" } },
	{ { "--listen", "node7:5050" }, SIMPLER_EPERM, { "--insecure" } },
	{ { "--listen" }, SIMPLER_EINVAL, { "--listen", "needs a value" } },
	{ { "--insecure=yes" }, SIMPLER_EINVAL, { "--insecure", "takes no value" } },
	{ { "--colour" }, SIMPLER_EINVAL, { "--colour", "--help" } },
	{ { "-x" }, SIMPLER_EINVAL, { "-x", "--help" } },
	{ { "stray" }, SIMPLER_EINVAL, { "'stray'", "options only" } },
};

static void bad_values_are_told(void **state)
{
	enum options_action action;
	struct options options;

	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		assert_int_equal(parse(refusals[i].words, &options, &action), refusals[i].status);
		for (size_t j = 0; j < 3 && refusals[i].told[j]; j++)
			assert_non_null(strstr(simpler_last_error(), refusals[i].told[j]));
	}
}

static const struct {
	const char *text;
	enum address_reach reach;
} addresses[] = {
	{ "127.0.0.1:5050", ADDRESS_LOCAL },
	{ "127.255.3.4:0", ADDRESS_LOCAL },
	{ "localhost:5050", ADDRESS_LOCAL },
	{ "[::1]:5050", ADDRESS_LOCAL },
	{ "unix:/run/simpler.sock", ADDRESS_LOCAL },
	{ "128.0.0.1:5050", ADDRESS_OTHERS },
	{ "0.0.0.0:1", ADDRESS_OTHERS },
	{ "[::]:1", ADDRESS_OTHERS },
	{ "[fe80::1]:1", ADDRESS_OTHERS },
	{ "[::ffff:127.0.0.1]:1", ADDRESS_OTHERS },
	{ "localhost.example.org:1", ADDRESS_OTHERS },
	{ "127.0.0.1.example.org:1", ADDRESS_OTHERS },
	{ "::1:5050", ADDRESS_INVALID },
	{ "[::1]", ADDRESS_INVALID },
	{ "[::1:5050", ADDRESS_INVALID },
	{ "[]:5050", ADDRESS_INVALID },
	{ "[127.0.0.1]:5050", ADDRESS_INVALID },
	{ ":5050", ADDRESS_INVALID },
	{ "host:", ADDRESS_INVALID },
	{ "host:+1", ADDRESS_INVALID },
	{ "ho st:1", ADDRESS_INVALID },
	{ "-host:1", ADDRESS_INVALID },
	{ "[:1", ADDRESS_INVALID },
	{ "", ADDRESS_INVALID },
	{ "unix:", ADDRESS_INVALID },
};

static void addresses_are_told_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		assert_int_equal(address_classify(addresses[i].text), addresses[i].reach);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_hold_without_options),
		cmocka_unit_test(all_options_together),
		cmocka_unit_test(R18_only_this_machine_may_bring_any_code_unless_told_otherwise),
		cmocka_unit_test(parsing_starts_over_each_time),
		cmocka_unit_test(with_chips_no_sub_workers_are_needed),
		cmocka_unit_test(help_and_version_win_over_what_follows),
		cmocka_unit_test(usage_names_every_option),
		cmocka_unit_test(bad_values_are_told),
		cmocka_unit_test(addresses_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
