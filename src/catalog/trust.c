/*
 * What was read is told apart from what is there by what stat() says of the directory and of each
 * file that counts. That is noted before the directory is listed, and of a file when it is open, so
 * what changes meanwhile is seen at the next look. Times of files go on in steps of some
 * milliseconds, so that of two changes within one the second would not be seen: what had changed
 * shortly before it was read is read again, if not for every look.
 */
#include "catalog/trust.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "catalog/hex.h"
#include "catalog/small_file.h"

#define PATH_BYTES    4096
#define NAME_BYTES    256
#define REVOKED_BYTES ((size_t)1 << 20)
#define HEX_DIGITS    ((size_t)2 * DIGEST_BYTES)
#define NOT_THE_OWNER (S_IWGRP | S_IWOTH)
#define SETTLED_S     2  /* after so many seconds a time of a file is over */
#define UNSETTLED_MS  20 /* how long what may have changed unseen is believed */

/* All zero: there is no such file. */
struct stamp {
	mode_t mode;
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

struct trusted_key {
	char name[NAME_BYTES];
	struct stamp stamp;
	struct public_key key;
	struct digest id;
};

struct trust {
	char directory[PATH_BYTES];
	bool settled;    /* nothing of it was of just then when it was read */
	int64_t read_at; /* base/clock.h */
	struct stamp stamp, revoked_stamp;
	struct trust_revoked revoked;
	size_t key_count;
	struct trusted_key keys[TRUST_MAX_KEYS];
};

/* --- what is revoked --- */

static const char *after_word(const char *line, const char *word)
{
	size_t size = strlen(word);

	return strncmp(line, word, size) == 0 ? line + size : NULL;
}

static bool parse_entry(const char *line, size_t size, struct trust_entry *out)
{
	const char *key = after_word(line, "key "), *module = after_word(line, "module ");
	const char *digits = key ? key : module;

	out->is_key = key != NULL;
	return digits && (size_t)(digits - line) + HEX_DIGITS == size &&
	       hex_read(digits, DIGEST_BYTES, out->digest.bytes);
}

static simpler_status parse_line(const char *line, size_t size, size_t number,
                                 struct trust_revoked *out)
{
	while (size > 0 && strchr(" \t\r", line[size - 1]))
		size--;
	if (size == 0 || line[0] == '#')
		return SIMPLER_OK;
	if (out->count == TRUST_MAX_REVOKED)
		return error_raise(SIMPLER_EINVAL,
		                   "line %zu is one too many: at most %u can be "
		                   "revoked",
		                   number, TRUST_MAX_REVOKED);
	if (!parse_entry(line, size, &out->entries[out->count]))
		return error_raise(SIMPLER_EINVAL,
		                   "line %zu is not \"key\" or \"module\", a blank, and 64 "
		                   "lower-case hexadecimal digits",
		                   number);
	out->count++;
	return SIMPLER_OK;
}

simpler_status trust_parse_revoked(const char *text, struct trust_revoked *out)
{
	simpler_status status = SIMPLER_OK;

	out->count = 0;
	for (size_t number = 1; *text != '\0' && status == SIMPLER_OK; number++) {
		size_t size = strcspn(text, "\n");

		status = parse_line(text, size, number, out);
		text += size + (text[size] == '\n');
	}
	return status;
}

/* --- reading the directory --- */

static struct stamp stamp_of(const struct stat *stat)
{
	return (struct stamp){ .mode = stat->st_mode,
		               .device = stat->st_dev,
		               .inode = stat->st_ino,
		               .size = stat->st_size,
		               .modified = stat->st_mtim,
		               .changed = stat->st_ctim };
}

static simpler_status check_owner(const char *path, const struct stat *stat)
{
	if (stat->st_uid != 0 && stat->st_uid != geteuid())
		return error_raise(SIMPLER_EPERM,
		                   "'%s' belongs to user %ld, who could have a node trust any key; "
		                   "have it belong to root or to the daemon's user",
		                   path, (long)stat->st_uid);
	if (stat->st_mode & NOT_THE_OWNER)
		return error_raise(SIMPLER_EPERM,
		                   "others than its owner can write to '%s', and so have a node "
		                   "trust any key; take that from them with: chmod go-w '%s'",
		                   path, path);
	return SIMPLER_OK;
}

static simpler_status join(const char *directory, const char *name, char path[PATH_BYTES])
{
	int size = snprintf(path, PATH_BYTES, "%s/%s", directory, name);

	if (size < 0 || size >= PATH_BYTES)
		return error_raise(SIMPLER_EINVAL, "the path '%s' is too long", directory);
	return SIMPLER_OK;
}

static simpler_status read_file(const char *path, char *out, size_t capacity, struct stamp *stamp)
{
	struct stat stat;
	size_t size;
	simpler_status status = small_file_read(path, out, capacity, &size, &stat);

	if (status == SIMPLER_OK)
		status = check_owner(path, &stat);
	if (status == SIMPLER_OK && strlen(out) != size)
		status = error_raise(SIMPLER_EINVAL, "'%s' is no text: it has a zero byte in it",
		                     path);
	if (status == SIMPLER_OK)
		*stamp = stamp_of(&stat);
	return status;
}

static simpler_status read_revoked(struct trust *trust)
{
	char path[PATH_BYTES], *text = malloc(REVOKED_BYTES);
	simpler_status status;
	struct stat link;

	if (!text)
		return error_raise(SIMPLER_ENOMEM, "no memory for what is revoked");
	status = join(trust->directory, "revoked", path);
	if (status == SIMPLER_OK)
		status = read_file(path, text, REVOKED_BYTES, &trust->revoked_stamp);
	if (status == SIMPLER_OK && trust_parse_revoked(text, &trust->revoked) != SIMPLER_OK) {
		struct error why;

		error_save(&why);
		status = error_raise(SIMPLER_EINVAL, "'%s': %s", path, error_step(&why, 0));
	}
	free(text);
	/* No list is one thing, and a link to a list that is not there another. */
	return status == SIMPLER_ENOTFOUND && lstat(path, &link) != 0 ? SIMPLER_OK : status;
}

static simpler_status read_key(struct trust *trust, const char *name)
{
	struct trusted_key *key = &trust->keys[trust->key_count];
	char path[PATH_BYTES], pem[KEY_PEM_MAX + 1];
	simpler_status status = join(trust->directory, name, path);

	if (status == SIMPLER_OK && trust->key_count == TRUST_MAX_KEYS)
		status = error_raise(SIMPLER_EINVAL,
		                     "'%s' is one key too many: at most %u can be "
		                     "trusted",
		                     path, TRUST_MAX_KEYS);
	if (status != SIMPLER_OK)
		return status;
	(void)snprintf(key->name, sizeof(key->name), "%s", name);
	status = read_file(path, pem, sizeof(pem), &key->stamp);
	if (status == SIMPLER_OK && !key_parse_public(pem, &key->key))
		status = error_raise(SIMPLER_EINVAL,
		                     "'%s' is not one public Ed25519 key in PEM (\"BEGIN PUBLIC "
		                     "KEY\"); make one with \"simpler key new\", or take the file "
		                     "out of the trust directory",
		                     path);
	if (status == SIMPLER_OK)
		status = key_id(&key->key, &key->id);
	if (status == SIMPLER_OK)
		trust->key_count++;
	return status;
}

static bool is_key_name(const char *name)
{
	size_t size = strlen(name);

	return size > 4 && size < NAME_BYTES && name[0] != '.' &&
	       strcmp(name + size - 4, ".pub") == 0;
}

static simpler_status read_keys(struct trust *trust)
{
	DIR *directory = opendir(trust->directory);
	simpler_status status = SIMPLER_OK;
	const struct dirent *entry;

	if (!directory)
		return error_raise_errno(SIMPLER_ESYSTEM, errno, "listing the trust directory '%s'",
		                         trust->directory);
	while (status == SIMPLER_OK && (errno = 0, entry = readdir(directory)) != NULL) {
		if (is_key_name(entry->d_name))
			status = read_key(trust, entry->d_name);
	}
	if (status == SIMPLER_OK && errno != 0)
		status = error_raise_errno(SIMPLER_ESYSTEM, errno,
		                           "listing the trust directory '%s'", trust->directory);
	(void)closedir(directory);
	return status;
}

static simpler_status look_at_directory(struct trust *trust)
{
	struct stat found;

	if (stat(trust->directory, &found) != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno,
		                         "looking at the trust directory '%s'", trust->directory);
	if (!S_ISDIR(found.st_mode))
		return error_raise(SIMPLER_EINVAL, "the trust directory '%s' is no directory",
		                   trust->directory);
	trust->stamp = stamp_of(&found);
	return check_owner(trust->directory, &found);
}

static bool is_settled(const struct trust *trust)
{
	time_t before = time(NULL) - SETTLED_S;
	bool settled = trust->stamp.changed.tv_sec < before &&
	               trust->revoked_stamp.changed.tv_sec < before;

	for (size_t i = 0; i < trust->key_count; i++)
		settled = settled && trust->keys[i].stamp.changed.tv_sec < before;
	return settled;
}

simpler_status trust_load(const char *directory, struct trust **out)
{
	struct trust *trust = calloc(1, sizeof(*trust));
	simpler_status status = SIMPLER_OK;

	if (!trust)
		return error_raise(SIMPLER_ENOMEM, "no memory for trusted keys");
	if (strlen(directory) >= sizeof(trust->directory))
		status = error_raise(SIMPLER_EINVAL, "the path '%s' is too long", directory);
	if (status == SIMPLER_OK) {
		memcpy(trust->directory, directory, strlen(directory) + 1);
		status = look_at_directory(trust);
	}
	if (status == SIMPLER_OK)
		status = read_revoked(trust);
	if (status == SIMPLER_OK)
		status = read_keys(trust);
	if (status != SIMPLER_OK) {
		trust_free(trust);
		return status;
	}
	trust->read_at = clock_now();
	trust->settled = is_settled(trust);
	*out = trust;
	return SIMPLER_OK;
}

void trust_free(struct trust *trust)
{
	free(trust);
}

/* --- asking --- */

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool still_is(const char *path, const struct stamp *stamp)
{
	struct stamp now = { 0 };
	struct stat found;

	if (stat(path, &found) == 0)
		now = stamp_of(&found);
	else if (errno != ENOENT)
		return false;
	return now.mode == stamp->mode && now.device == stamp->device &&
	       now.inode == stamp->inode && now.size == stamp->size &&
	       same_time(&now.modified, &stamp->modified) &&
	       same_time(&now.changed, &stamp->changed);
}

static bool file_still_is(const struct trust *trust, const char *name, const struct stamp *stamp)
{
	char path[PATH_BYTES];

	return join(trust->directory, name, path) == SIMPLER_OK && still_is(path, stamp);
}

bool trust_is_stale(const struct trust *trust)
{
	if (!trust->settled && clock_now() - trust->read_at >= UNSETTLED_MS * CLOCK_MS)
		return true;
	if (!still_is(trust->directory, &trust->stamp) ||
	    !file_still_is(trust, "revoked", &trust->revoked_stamp))
		return true;
	for (size_t i = 0; i < trust->key_count; i++) {
		if (!file_still_is(trust, trust->keys[i].name, &trust->keys[i].stamp))
			return true;
	}
	return false;
}

static bool same_digest(const struct digest *a, const struct digest *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

const struct public_key *trust_find(const struct trust *trust, const struct digest *key_id)
{
	for (size_t i = 0; i < trust->key_count; i++) {
		if (same_digest(&trust->keys[i].id, key_id))
			return &trust->keys[i].key;
	}
	return NULL;
}

static bool revokes(const struct trust *trust, bool is_key, const struct digest *digest)
{
	for (size_t i = 0; i < trust->revoked.count; i++) {
		const struct trust_entry *entry = &trust->revoked.entries[i];

		if (entry->is_key == is_key && same_digest(&entry->digest, digest))
			return true;
	}
	return false;
}

bool trust_revokes_key(const struct trust *trust, const struct digest *key_id)
{
	return revokes(trust, true, key_id);
}

bool trust_revokes_module(const struct trust *trust, const struct digest *module)
{
	return revokes(trust, false, module);
}
