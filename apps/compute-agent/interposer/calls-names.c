/* calls-names.c: the interposed functions that work on names: a file that leaves, moves, is cut or looked at by its path. */
#include "raw.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fetch.h"
#include "lookup.h"
#include "open-files.h"
#include "relation-file.h"
#include "report.h"
#include "writes.h"

/* The listed file of that name when it is still the one; it is `going` from here on. */
static struct tracked_file *begin_leaving(const char *name)
{
	struct tracked_file *found = state_find(name);
	uint32_t alive = ALIVE;
	return found && atomic_compare_exchange_strong(&found->life, &alive, GOING) ? found : NULL;
}

static void end_leaving(struct tracked_file *leaving, bool gone)
{
	if (!leaving)
		return;
	atomic_store(&leaving->life, gone ? GONE : ALIVE);
	state_wake();
}

/* Bytes of a relation's file that is about to go; 0 for other files. */
static uint64_t relation_bytes(const char *path, const char *name)
{
	struct relation_file relation;
	struct stat status;
	bool counted = relation_file_parse(name, &relation) && relation.fork == MAIN_FORK && raw_stat(path, &status, 0) == 0 && status.st_nlink == 1;
	return counted ? (uint64_t) status.st_size : 0;
}

INTERPOSED int unlink(const char *path)
{
	const char *name = state_name(path);
	if (!name)
		return raw_unlink(path);
	if (lookup_file(name) < 0)
		return -1;
	int saved = errno;
	uint64_t bytes = relation_bytes(path, name);
	struct tracked_file *leaving = begin_leaving(name);
	errno = saved;
	int result = raw_unlink(path);
	end_leaving(leaving, result == 0);
	if (result == 0 && bytes > 0)
		uncharge(bytes);
	return result;
}

/* A tracked file that gets another name is completed first, and is local under the new one. */
static int complete(const char *path, struct tracked_file *file)
{
	int fd = raw_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	struct open_file open = {.tracked = file};
	int result = fetch_range(&open, fd, 0, (size_t) atomic_load(&file->tracked) * BLOCK_SIZE);
	raw_close(fd);
	return result;
}

INTERPOSED int rename(const char *from, const char *to)
{
	const char *from_name = state_name(from);
	const char *to_name = state_name(to);
	if (!from_name && !to_name)
		return raw_rename(from, to);
	if ((from_name && lookup_file(from_name) < 0) || (to_name && lookup_file(to_name) < 0))
		return -1;

	struct tracked_file *moving = from_name ? state_find(from_name) : NULL;
	if (moving && atomic_load(&moving->life) == ALIVE && complete(from, moving) < 0)
		return -1;
	uint64_t replaced = to_name ? relation_bytes(to, to_name) : 0;
	moving = from_name ? begin_leaving(from_name) : NULL;
	struct tracked_file *covered = to_name ? begin_leaving(to_name) : NULL;
	int result = raw_rename(from, to);
	end_leaving(moving, result == 0);
	end_leaving(covered, result == 0);
	if (result == 0 && replaced > 0)
		uncharge(replaced);
	return result;
}

static int truncate_by_path(const char *path, off_t length)
{
	if (!state_name(path))
		return (int) syscall(SYS_truncate, path, length);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	int result = ftruncate(fd, length);
	int saved = errno;
	close(fd);
	errno = saved;
	return result;
}

INTERPOSED int truncate(const char *path, off_t length)
{
	return truncate_by_path(path, length);
}

INTERPOSED int truncate64(const char *path, off64_t length)
{
	return truncate_by_path(path, length);
}

/* Servers built with an old C library import the first two of each kind, others the plain names. */
INTERPOSED int __xstat(int version, const char *path, struct stat *status);
INTERPOSED int __lxstat(int version, const char *path, struct stat *status);
INTERPOSED int __xstat64(int version, const char *path, struct stat64 *status);
INTERPOSED int __lxstat64(int version, const char *path, struct stat64 *status);

static int look_at(const char *path, void *status, int flags)
{
	return lookup_path(path) < 0 ? -1 : raw_stat(path, status, flags);
}

int __xstat(int version, const char *path, struct stat *status)
{
	(void) version;
	return look_at(path, status, 0);
}

int __lxstat(int version, const char *path, struct stat *status)
{
	(void) version;
	return look_at(path, status, AT_SYMLINK_NOFOLLOW);
}

int __xstat64(int version, const char *path, struct stat64 *status)
{
	(void) version;
	return look_at(path, status, 0);
}

int __lxstat64(int version, const char *path, struct stat64 *status)
{
	(void) version;
	return look_at(path, status, AT_SYMLINK_NOFOLLOW);
}

INTERPOSED int stat(const char *path, struct stat *status)
{
	return look_at(path, status, 0);
}

INTERPOSED int lstat(const char *path, struct stat *status)
{
	return look_at(path, status, AT_SYMLINK_NOFOLLOW);
}

INTERPOSED int stat64(const char *path, struct stat64 *status)
{
	return look_at(path, status, 0);
}

INTERPOSED int lstat64(const char *path, struct stat64 *status)
{
	return look_at(path, status, AT_SYMLINK_NOFOLLOW);
}

#ifdef STATX_TYPE
INTERPOSED int statx(int directory, const char *restrict path, int flags, unsigned mask, struct statx *restrict status)
{
	bool resolvable = directory == AT_FDCWD || path[0] == '/';
	return resolvable && lookup_path(path) < 0 ? -1 : (int) syscall(SYS_statx, directory, path, flags, mask, status);
}
#endif

INTERPOSED int access(const char *path, int mode)
{
	return lookup_path(path) < 0 ? -1 : (int) syscall(SYS_faccessat, AT_FDCWD, path, mode);
}

/* Who lists a directory of relations must see all of them. */
INTERPOSED DIR *opendir(const char *path)
{
	static DIR *(*next)(const char *);
	if (!next)
		*(void **) &next = dlsym(RTLD_NEXT, "opendir");
	if (next && lookup_directory(path) == 0)
		return next(path);
	errno = EIO;
	return NULL;
}
