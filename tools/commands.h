/* The subcommands of `simpler`, and what they share. A new one is a file and a line in simpler.c.
 */
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

#include <stdio.h>

#include "simpler/export.h"

enum {
	EXIT_FAILED = 1, /* what was asked for is not so, or could not be found out */
	EXIT_USAGE = 2,
};

/* Each gets its own name as argv[0] and returns the exit status. */
int command_drain(int argc, char **argv);
int command_heartbeat(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_key(int argc, char **argv);
int command_sign(int argc, char **argv);
int command_status(int argc, char **argv);
int command_verify(int argc, char **argv);

extern const char drain_usage[], heartbeat_usage[], inspect_usage[], key_usage[], sign_usage[],
	status_usage[], verify_usage[];

/* Says what is wrong with the command line; returns EXIT_USAGE. */
int usage_error(const char *command, const char *format, ...) SIMPLER_PRINTF(2, 3);
/* The same for what getopt_long() found: ':' or '?'. */
int usage_bad_option(const char *command, int found, char **argv);
/* Milliseconds, 1 to 999999999, of what getopt_long() gives for --timeout; 0 for anything else. */
unsigned usage_timeout(const char *text);
/* Says the last error; returns EXIT_FAILED. */
int complain(const char *command);
/* Text that another machine sent: its control bytes do not reach the terminal. */
void print_untrusted(FILE *stream, const char *text);

#endif
