#include "os/watched.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define SETS_MAX 32 /* that are still to be looked at; there are three or four */

/* "tfd: 5 events: 19 data: 5  pos:0 ino:e19acf sdev:9" of /proc/PID/fdinfo. One that was closed
 * under another number may still be in a set, and its number is another file's then. */
static bool read_entry(const char *line, int *fd)
{
	const char *number = strstr(line, "tfd:"), *inode = strstr(line, "ino:");
	struct stat is;

	if (!number || !inode)
		return false;
	*fd = (int)strtol(number + 4, NULL, 10);
	return fstat(*fd, &is) == 0 && is.st_ino == strtoull(inode + 4, NULL, 16);
}

/* False when it is none, nor any other socket. */
static bool shut_if_connection(int fd)
{
	struct sockaddr_storage name = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof(name);

	if (getsockname(fd, (struct sockaddr *)&name, &size) != 0)
		return false;
	if (name.ss_family == AF_INET || name.ss_family == AF_INET6)
		(void)shutdown(fd, SHUT_RDWR);
	return true;
}

/* How many sets are in it, perhaps. */
static size_t look_into(int set, int *more, size_t room)
{
	char path[64], line[256];
	size_t count = 0;
	FILE *info;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", set);
	info = fopen(path, "re");
	if (!info)
		return 0;
	while (fgets(line, sizeof(line), info)) {
		if (read_entry(line, &fd) && !shut_if_connection(fd) && count < room)
			more[count++] = fd;
	}
	(void)fclose(info);
	return count;
}

void watched_shut_connections(int set)
{
	int sets[SETS_MAX] = { set };
	size_t count = 1;

	while (count > 0) {
		count--;
		count += look_into(sets[count], &sets[count], SETS_MAX - count);
	}
}
