#include "ipc/host_program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "ipc/spawn.h"
#include "os/dl.h"
#include "os/process.h"

#define HOST_NAME "simpler-host"

/* Replace the file's name at the end of `path`. False when there is no room. */
static bool beside(char *path, size_t capacity, const char *name)
{
	char *slash = strrchr(path, '/');
	size_t directory = slash ? (size_t)(slash - path) + 1 : 0;

	if (directory + strlen(name) + 1 > capacity)
		return false;
	memcpy(path + directory, name, strlen(name) + 1);
	return true;
}

static bool is_beside(char *path, size_t capacity, const char *name)
{
	return beside(path, capacity, name) && access(path, X_OK) == 0;
}

/* Seen from a program: in a build tree, and in an installed one. */
static bool is_near_program(char *path, size_t capacity)
{
	static const char *const places[] = { HOST_NAME, "../libexec/simpler/" HOST_NAME };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (process_executable(path, capacity) == SIMPLER_OK &&
		    is_beside(path, capacity, places[i]))
			return true;
	}
	return false;
}

/* Seen from libsimpler: installed, in lib or in lib/TRIPLET; and in a build tree. */
static bool is_near_library(char *path, size_t capacity)
{
	static const char *const places[] = { "../libexec/simpler/" HOST_NAME,
		                              "../../libexec/simpler/" HOST_NAME,
		                              "../tools/" HOST_NAME };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (dl_path_of(places, path, capacity) && is_beside(path, capacity, places[i]))
			return true;
	}
	return false;
}

static bool is_own;

void host_program_set_own(void)
{
	is_own = true;
}

bool host_program_is_own(void)
{
	return is_own;
}

static simpler_status name_own(char *path, size_t capacity)
{
	if ((size_t)snprintf(path, capacity, SPAWN_OWN_PROGRAM) >= capacity)
		return error_raise(SIMPLER_ENOSPACE, "no room for the path of this program");
	return SIMPLER_OK;
}

simpler_status host_program_again(char *path, size_t capacity)
{
	return is_own ? name_own(path, capacity) : process_executable(path, capacity);
}

simpler_status host_program_find(char *path, size_t capacity)
{
	const char *given = getenv("SIMPLER_HOST");

	if (is_own)
		return name_own(path, capacity);
	if (given && given[0] != '\0') {
		if ((size_t)snprintf(path, capacity, "%s", given) >= capacity)
			return error_raise(SIMPLER_ENOSPACE, "SIMPLER_HOST: the path is too long");
		return SIMPLER_OK;
	}
	if (is_near_program(path, capacity) || is_near_library(path, capacity))
		return SIMPLER_OK;
	if ((size_t)snprintf(path, capacity, "%s/" HOST_NAME, SIMPLER_LIBEXECDIR) >= capacity)
		return error_raise(SIMPLER_ENOSPACE, "the path of " HOST_NAME " is too long");
	if (access(path, X_OK) != 0)
		return error_raise_errno(SIMPLER_ENOTFOUND, errno,
		                         "no " HOST_NAME " beside this program or in "
		                         "../libexec/simpler from it or from libsimpler, nor at "
		                         "%s; name it in SIMPLER_HOST",
		                         path);
	return SIMPLER_OK;
}
