/* A directory that a test may fill, below $TMPDIR; removed with the files in it. */
#ifndef TEMPORARY_DIRECTORY_H
#define TEMPORARY_DIRECTORY_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct temporary_directory {
	char path[256];
};

/* False when there is none. */
static inline bool temporary_directory_make(struct temporary_directory *out)
{
	const char *base = getenv("TMPDIR");
	int size = snprintf(out->path, sizeof(out->path), "%s/simpler-test.XXXXXX",
	                    base ? base : "/tmp");

	return size > 0 && (size_t)size < sizeof(out->path) && mkdtemp(out->path);
}

/* The path of a file in it; good until the fourth call after. */
static inline const char *temporary_path(const struct temporary_directory *in, const char *name)
{
	static char paths[4][512];
	static unsigned last;
	char *path = paths[++last % 4];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", in->path, name);
	return path;
}

static inline bool temporary_write(const struct temporary_directory *in, const char *name,
                                   const char *text)
{
	FILE *file = fopen(temporary_path(in, name), "w");
	bool done = file && fputs(text, file) >= 0;

	return (!file || fclose(file) == 0) && done;
}

static inline void temporary_directory_remove(const struct temporary_directory *in)
{
	DIR *listing = opendir(in->path);
	const struct dirent *entry;

	while (listing && (entry = readdir(listing)) != NULL)
		(void)unlink(temporary_path(in, entry->d_name));
	if (listing)
		(void)closedir(listing);
	(void)rmdir(in->path);
}

#endif
