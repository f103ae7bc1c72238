/*
 * simpler: the command line tool. It finds the subcommand; each has a file of its own.
 *
 * Results go to standard output, complaints to standard error. The exit status is 0, EXIT_FAILED or
 * EXIT_USAGE. getopt_long() prints nothing itself, so that all complaints look alike.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "simpler/status.h"
#include "simpler/version.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage, *summary;
} commands[] = {
	{ "drain", command_drain, drain_usage, "have a node finish what runs, and end" },
	{ "heartbeat", command_heartbeat, heartbeat_usage, "ask a node whether it is alive" },
	{ "inspect", command_inspect, inspect_usage, "list the callables of a module" },
	{ "key", command_key, key_usage, "make a key that signs modules" },
	{ "sign", command_sign, sign_usage, "sign modules" },
	{ "status", command_status, status_usage, "ask a node whether it is ready, and why not" },
	{ "verify", command_verify, verify_usage, "check who signed a module" },
};

static const size_t command_count = sizeof(commands) / sizeof(*commands);

static int finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_SUCCESS;
	perror("simpler: standard output");
	return EXIT_FAILED;
}

static int print_usage(const char *usage)
{
	(void)fputs(usage, stdout);
	return EXIT_SUCCESS;
}

int usage_error(const char *command, const char *format, ...)
{
	va_list arguments;

	(void)fprintf(stderr, "simpler%s%s: ", *command ? " " : "", command);
	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fprintf(stderr, "; see simpler%s%s --help\n", *command ? " " : "", command);
	return EXIT_USAGE;
}

int usage_bad_option(const char *command, int found, char **argv)
{
	if (found == ':')
		return usage_error(command, "%s needs a value", argv[optind - 1]);
	if (optopt > 0 && optopt < 256)
		return usage_error(command, "-%c is no option", optopt);
	if (optopt != 0)
		return usage_error(command, "%s: this option takes no value", argv[optind - 1]);
	return usage_error(command, "%s is no option", argv[optind - 1]);
}

unsigned usage_timeout(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits > 0 && digits <= 9 && text[digits] == '\0' ? (unsigned)strtoul(text, NULL, 10)
	                                                         : 0;
}

int complain(const char *command)
{
	(void)fprintf(stderr, "simpler %s: ", command);
	print_untrusted(stderr, simpler_last_error());
	(void)fputc('\n', stderr);
	return EXIT_FAILED;
}

/* The steps of an error are lines, so a line feed is let through. */
void print_untrusted(FILE *stream, const char *text)
{
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;

		(void)fputc((byte < 0x20 && byte != '\n') || byte == 0x7f ? '?' : byte, stream);
	}
}

static int print_help(void)
{
	printf("Usage: simpler COMMAND [ARGUMENT]...\n"
	       "       simpler --help | --version\n"
	       "Look at modules and nodes of the simpler runtime, and sign modules.\n"
	       "\n");
	for (size_t i = 0; i < command_count; i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].summary);
	printf("\n\"simpler COMMAND --help\" tells more. The exit status is 2 for wrong usage.\n");
	return EXIT_SUCCESS;
}

/* Wherever it stands, also where the command would take it for a value or a name. */
static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0)
			return true;
	}
	return false;
}

static int run_command(int argc, char **argv)
{
	for (size_t i = 0; i < command_count; i++) {
		if (strcmp(argv[0], commands[i].name) != 0)
			continue;
		if (asks_for_help(argc, argv))
			return print_usage(commands[i].usage);
		optind = 0; /* the C library's way to start over */
		return commands[i].run(argc, argv);
	}
	return usage_error("", "'%s' is no command", argv[0]);
}

static int run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 256 },
		{ "version", no_argument, NULL, 257 },
		{ NULL, 0, NULL, 0 },
	};
	int found;

	opterr = 0;
	/* '+': what follows the command is the command's. */
	found = getopt_long(argc, argv, "+:", options, NULL);
	if (found == 256)
		return print_help();
	if (found == 257)
		return print_usage("simpler " SIMPLER_VERSION "\n");
	if (found != -1)
		return usage_bad_option("", found, argv);
	if (optind >= argc)
		return usage_error("", "a command is missing");
	return run_command(argc - optind, argv + optind);
}

int main(int argc, char **argv)
{
	int status = run(argc, argv);

	return status == EXIT_SUCCESS ? finish_output() : status;
}
