/* The command line tool: its arguments, one a line up to an empty one, and behind that what a node
 * answers to whatever is asked. Its exit status is one of three, and what it says is well formed
 * for sanitizers. Files are written by none of the commands that are linked. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "base/error.h"
#include "commands.h"

#define MAX_WORDS 32

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int tool_main(int argc, char **argv);

static const uint8_t *answer_bytes;
static size_t answer_size;

const char key_usage[] = "", sign_usage[] = "";

int command_key(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return EXIT_USAGE;
}

int command_sign(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return EXIT_USAGE;
}

simpler_status ask(const char *address, const char *path, struct rpc_buffer *message,
                   unsigned timeout_ms, uint8_t **answer, size_t *size)
{
	(void)path;
	rpc_buffer_release(message);
	if (timeout_ms == 0)
		abort();
	if (!answer_bytes)
		return error_raise(SIMPLER_EUNAVAILABLE, "nothing serves at %s", address);
	*answer = malloc(answer_size + 1);
	if (!*answer)
		return error_raise(SIMPLER_ENOMEM, "out of memory");
	memcpy(*answer, answer_bytes, answer_size);
	*size = answer_size;
	return SIMPLER_OK;
}

/* The words of `text`, which is cut; returns how many. */
static int split(char *text, char **argv)
{
	char *rest = NULL;
	int count = 1;

	argv[0] = (char *)(uintptr_t) "simpler";
	for (char *word = strtok_r(text, "\n", &rest); word && count <= MAX_WORDS;
	     word = strtok_r(NULL, "\n", &rest))
		argv[count++] = word;
	argv[count] = NULL;
	return count;
}

/* The fuzzer itself has its stream already. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (!freopen("/dev/null", "w", stdout) || !(stderr = fopen("/dev/null", "w")))
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *argv[MAX_WORDS + 2], *end;
	int status;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	end = strstr(text, "\n\n");
	answer_bytes = end ? data + (end - text) + 2 : NULL;
	answer_size = end ? size - (size_t)(end - text) - 2 : 0;
	if (end)
		*end = '\0';
	optind = 0; /* the C library's way to start over */
	status = tool_main(split(text, argv), argv);
	if (status != EXIT_SUCCESS && status != EXIT_FAILED && status != EXIT_USAGE)
		abort();
	free(text);
	return 0;
}
