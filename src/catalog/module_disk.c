/*
 * There is no index: the directory is the truth, also about what another daemon did there. It is
 * gone through when something is to be saved, which is rare.
 */
#include "catalog/module_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "catalog/hex.h"
#include "catalog/module_file.h"
#include "os/random.h"

#define TEMPORARY       "tmp-"
#define TEMPORARY_BYTES (sizeof(TEMPORARY) + 16)
#define SHELF_BYTES     3                                /* "ab" */
#define PLACE_BYTES     (SHELF_BYTES + DIGEST_HEX_BYTES) /* "ab/ab12...ef" */

struct module_disk {
	char *directory; /* for messages */
	uint64_t limit;
	int fd; /* of the directory */
};

static void place_of(const struct digest *digest, char out[PLACE_BYTES])
{
	char text[DIGEST_HEX_BYTES];

	digest_hex(digest, text);
	(void)snprintf(out, PLACE_BYTES, "%.2s/%s", text, text);
}

static simpler_status raise_in(const struct module_disk *disk, int error, const char *what)
{
	return error_raise_errno(error == ENOSPC || error == EDQUOT ? SIMPLER_ENOSPACE
	                                                            : SIMPLER_ESYSTEM,
	                         error, "%s in the module store '%s'", what, disk->directory);
}

/* --- going through it --- */

/* Call `visit` for each entry of a directory, which is opened in `parent`. */
static void each_entry(struct module_disk *disk, int parent, const char *name,
                       void (*visit)(struct module_disk *disk, int directory, const char *entry,
                                     void *context),
                       void *context)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!entries && fd >= 0)
		(void)close(fd);
	if (!entries)
		return;
	while ((entry = readdir(entries)) != NULL)
		visit(disk, fd, entry->d_name, context);
	(void)closedir(entries);
}

/* A writer holds its file locked as long as it lives. */
static void remove_stale(struct module_disk *disk, int directory, const char *entry, void *context)
{
	int fd;

	(void)disk;
	(void)context;
	if (strncmp(entry, TEMPORARY, strlen(TEMPORARY)) != 0)
		return;
	fd = openat(directory, entry, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		(void)unlinkat(directory, entry, 0);
	(void)close(fd);
}

struct found {
	struct digest digest;
	uint64_t size;
	struct timespec used;
};

struct inventory {
	struct found *all;
	size_t count, capacity;
	uint64_t bytes;
};

static bool grow(struct inventory *inventory)
{
	size_t capacity = inventory->capacity ? 2 * inventory->capacity : 64;
	struct found *all;

	if (inventory->count < inventory->capacity)
		return true;
	all = realloc(inventory->all, capacity * sizeof(*all));
	if (!all)
		return false;
	inventory->all = all;
	inventory->capacity = capacity;
	return true;
}

static void count_module(struct module_disk *disk, int directory, const char *entry, void *context)
{
	struct inventory *inventory = context;
	struct found found;
	struct stat about;

	(void)disk;
	if (strlen(entry) != DIGEST_HEX_BYTES - 1 ||
	    !hex_read(entry, DIGEST_BYTES, found.digest.bytes) ||
	    fstatat(directory, entry, &about, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(about.st_mode) || !grow(inventory))
		return;
	found.size = (uint64_t)about.st_size;
	found.used = about.st_mtim;
	inventory->all[inventory->count++] = found;
	inventory->bytes += found.size;
}

static void count_shelf(struct module_disk *disk, int directory, const char *entry, void *context)
{
	uint8_t number;

	if (strlen(entry) == SHELF_BYTES - 1 && hex_read(entry, 1, &number))
		each_entry(disk, directory, entry, count_module, context);
}

static int by_use(const void *a, const void *b)
{
	const struct timespec *one = &((const struct found *)a)->used;
	const struct timespec *other = &((const struct found *)b)->used;

	if (one->tv_sec != other->tv_sec)
		return one->tv_sec < other->tv_sec ? -1 : 1;
	if (one->tv_nsec != other->tv_nsec)
		return one->tv_nsec < other->tv_nsec ? -1 : 1;
	return 0;
}

static void remove_module(struct module_disk *disk, const struct digest *digest)
{
	char place[PLACE_BYTES];

	place_of(digest, place);
	(void)unlinkat(disk->fd, place, 0);
}

static simpler_status make_room(struct module_disk *disk, uint64_t size)
{
	struct inventory inventory = { NULL, 0, 0, 0 };

	if (size > disk->limit)
		return error_raise(SIMPLER_ENOSPACE,
		                   "a module of %" PRIu64 " bytes is larger than all that the "
		                   "module store '%s' may hold, %" PRIu64,
		                   size, disk->directory, disk->limit);
	each_entry(disk, disk->fd, ".", count_shelf, &inventory);
	if (inventory.count > 0)
		qsort(inventory.all, inventory.count, sizeof(*inventory.all), by_use);
	for (size_t i = 0; i < inventory.count && inventory.bytes > disk->limit - size; i++) {
		remove_module(disk, &inventory.all[i].digest);
		inventory.bytes -= inventory.all[i].size;
	}
	free(inventory.all);
	return SIMPLER_OK;
}

/* --- reading --- */

void module_disk_drop(struct module_disk *disk, const struct digest *digest)
{
	char place[PLACE_BYTES];

	place_of(digest, place);
	simpler_log(SIMPLER_LOG_WARN, "'%s/%s' is damaged, and is removed", disk->directory, place);
	remove_module(disk, digest);
}

bool module_disk_find(struct module_disk *disk, const struct digest *digest, int *fd,
                      uint64_t *size)
{
	char place[PLACE_BYTES];
	struct stat about;

	place_of(digest, place);
	*fd = openat(disk->fd, place, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd < 0)
		return false;
	if (fstat(*fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0 &&
	    (uint64_t)about.st_size <= MODULE_MAX_BYTES) {
		(void)futimens(*fd, NULL);
		*size = (uint64_t)about.st_size;
		return true;
	}
	(void)close(*fd);
	module_disk_drop(disk, digest);
	return false;
}

/* --- writing --- */

static int create_temporary(struct module_disk *disk, char name[TEMPORARY_BYTES])
{
	int fd;

	(void)snprintf(name, TEMPORARY_BYTES, TEMPORARY "%016" PRIx64, random_u64());
	fd = openat(disk->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		(void)flock(fd, LOCK_EX | LOCK_NB);
	return fd;
}

/* False with errno set. */
static bool write_all(int fd, simpler_bytes module)
{
	const uint8_t *bytes = module.data;
	size_t done = 0;

	while (done < module.size) {
		ssize_t written = write(fd, bytes + done, module.size - done);

		if (written < 0 && errno != EINTR)
			return false;
		done += written > 0 ? (size_t)written : 0;
	}
	return fsync(fd) == 0;
}

/* So that the new name is on the disk, too. */
static bool sync_directory(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool synced = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		(void)close(fd);
	return synced;
}

static bool move_to_place(struct module_disk *disk, const char *name, const struct digest *digest)
{
	char place[PLACE_BYTES], shelf[SHELF_BYTES];

	place_of(digest, place);
	memcpy(shelf, place, SHELF_BYTES - 1);
	shelf[SHELF_BYTES - 1] = '\0';
	if (mkdirat(disk->fd, shelf, 0700) != 0 && errno != EEXIST)
		return false;
	return renameat(disk->fd, name, disk->fd, place) == 0 && sync_directory(disk->fd, shelf) &&
	       sync_directory(disk->fd, ".");
}

static simpler_status write_module(struct module_disk *disk, const struct digest *digest,
                                   simpler_bytes module)
{
	char name[TEMPORARY_BYTES];
	int fd = create_temporary(disk, name), error = errno;
	bool saved;

	if (fd < 0)
		return raise_in(disk, error, "cannot create a file");
	saved = write_all(fd, module) && move_to_place(disk, name, digest);
	error = errno;
	if (!saved)
		(void)unlinkat(disk->fd, name, 0);
	(void)close(fd);
	return saved ? SIMPLER_OK : raise_in(disk, error, "cannot write a module");
}

static bool is_there(struct module_disk *disk, const struct digest *digest, uint64_t size)
{
	char place[PLACE_BYTES];
	struct stat about;

	place_of(digest, place);
	return fstatat(disk->fd, place, &about, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(about.st_mode) && (uint64_t)about.st_size == size;
}

simpler_status module_disk_save(struct module_disk *disk, const struct digest *digest,
                                simpler_bytes module)
{
	simpler_status status;

	if (is_there(disk, digest, module.size))
		return SIMPLER_OK;
	status = make_room(disk, module.size);
	return status ? status : write_module(disk, digest, module);
}

/* --- birth and death --- */

static simpler_status try_to_write(struct module_disk *disk)
{
	char name[TEMPORARY_BYTES];
	int fd = create_temporary(disk, name);

	if (fd < 0)
		return raise_in(disk, errno, "cannot create files");
	(void)close(fd);
	if (unlinkat(disk->fd, name, 0) != 0)
		return raise_in(disk, errno, "cannot remove files");
	return SIMPLER_OK;
}

static simpler_status open_directory(struct module_disk *disk)
{
	if (mkdir(disk->directory, 0700) != 0 && errno != EEXIST)
		return error_raise_errno(SIMPLER_ESYSTEM, errno,
		                         "cannot make the module store '%s'", disk->directory);
	disk->fd = open(disk->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (disk->fd < 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno,
		                         "cannot open the module store '%s'", disk->directory);
	return try_to_write(disk);
}

simpler_status module_disk_open(const char *directory, uint64_t limit, struct module_disk **out)
{
	struct module_disk *disk = calloc(1, sizeof(*disk));
	simpler_status status;

	if (!disk)
		return error_raise(SIMPLER_ENOMEM, "no memory for a module store");
	disk->fd = -1;
	disk->limit = limit;
	disk->directory = strdup(directory);
	status = disk->directory ? open_directory(disk)
	                         : error_raise(SIMPLER_ENOMEM, "no memory for a module store");
	if (status) {
		module_disk_close(disk);
		return status;
	}
	each_entry(disk, disk->fd, ".", remove_stale, NULL);
	*out = disk;
	return SIMPLER_OK;
}

void module_disk_close(struct module_disk *disk)
{
	if (!disk)
		return;
	if (disk->fd >= 0)
		(void)close(disk->fd);
	free(disk->directory);
	free(disk);
}
