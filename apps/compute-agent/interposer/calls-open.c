/* calls-open.c: the interposed functions that make, copy and end descriptors. */
#include "raw.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fetch.h"
#include "lookup.h"
#include "open-files.h"
#include "writes.h"

INTERPOSED int open(const char *path, int flags, ...);
INTERPOSED int open64(const char *path, int flags, ...);
INTERPOSED int openat(int directory, const char *path, int flags, ...);
INTERPOSED int openat64(int directory, const char *path, int flags, ...);
INTERPOSED int __open_2(const char *path, int flags);
INTERPOSED int __open64_2(const char *path, int flags);
INTERPOSED int __openat_2(int directory, const char *path, int flags);
INTERPOSED int __openat64_2(int directory, const char *path, int flags);
INTERPOSED int creat(const char *path, mode_t mode);
INTERPOSED int creat64(const char *path, mode_t mode);

/* How often a name may change hands under one open. */
#define OPEN_ATTEMPTS 100

/* Opens, and tells whether this call made the file: O_CREAT alone would leave that unknown. */
static int open_or_make(int directory, const char *path, int flags, mode_t mode, bool *made)
{
	for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
		*made = (flags & O_CREAT) && (flags & O_EXCL);
		if (*made || !(flags & O_CREAT))
			return raw_openat(directory, path, flags, mode);
		int fd = raw_openat(directory, path, flags & ~O_CREAT, mode);
		if (fd >= 0 || errno != ENOENT)
			return fd;
		fd = raw_openat(directory, path, flags | O_EXCL, mode);
		*made = fd >= 0;
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
	return -1;
}

static int open_named(int directory, const char *path, int flags, mode_t mode, const char *name)
{
	if (lookup_file(name) < 0)
		return -1;
	for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
		bool made;
		int fd = open_or_make(directory, path, flags & ~O_TRUNC, mode, &made);
		if (fd < 0)
			return fd;
		open_file_forget(fd);
		int result = open_file_remember(fd, name, made);
		struct open_file *file = open_file_of(fd);
		/* O_TRUNC is done by hand, as the tracked size must follow. */
		if (result == 0 && !made && (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY)
			result = file ? resize(file, fd, 0) : raw_ftruncate(fd, 0);
		if (result == 0)
			return fd;
		int why = errno;
		open_file_forget(fd);
		raw_close(fd);
		errno = why;
		if (why != EAGAIN)
			return -1;
	}
	errno = EIO;
	return -1;
}

static int open_any(int directory, const char *path, int flags, mode_t mode)
{
	bool resolvable = directory == AT_FDCWD || (path && path[0] == '/');
	bool file = !(flags & (O_DIRECTORY | O_PATH));
	const char *name = resolvable && file ? state_name(path) : NULL;
	if (name)
		return open_named(directory, path, flags, mode, name);
	int fd = raw_openat(directory, path, flags, mode);
	open_file_forget(fd);
	return fd;
}

/* The mode argument is there only when the flags say so. */
#define MODE_ARGUMENT(mode, flags)                          \
	mode_t mode = 0;                                        \
	if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) { \
		va_list arguments;                                  \
		va_start(arguments, flags);                         \
		mode = va_arg(arguments, mode_t);                   \
		va_end(arguments);                                  \
	}

int open(const char *path, int flags, ...)
{
	MODE_ARGUMENT(mode, flags)
	return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	MODE_ARGUMENT(mode, flags)
	return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...)
{
	MODE_ARGUMENT(mode, flags)
	return open_any(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...)
{
	MODE_ARGUMENT(mode, flags)
	return open_any(directory, path, flags, mode);
}

int __open_2(const char *path, int flags)
{
	return open_any(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
	return open_any(AT_FDCWD, path, flags, 0);
}

int __openat_2(int directory, const char *path, int flags)
{
	return open_any(directory, path, flags, 0);
}

int __openat64_2(int directory, const char *path, int flags)
{
	return open_any(directory, path, flags, 0);
}

int creat(const char *path, mode_t mode)
{
	return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat64(const char *path, mode_t mode)
{
	return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

INTERPOSED int close(int fd)
{
	open_file_forget(fd);
	return raw_close(fd);
}

INTERPOSED int dup(int fd)
{
	int copy = (int) syscall(SYS_dup, fd);
	if (copy >= 0)
		open_file_duplicate(fd, copy);
	return copy;
}

INTERPOSED int dup2(int fd, int copy)
{
	if (fd == copy)
		return fcntl(fd, F_GETFD) < 0 ? -1 : fd;
	return dup3(fd, copy, 0);
}

INTERPOSED int dup3(int fd, int copy, int flags)
{
	int result = (int) syscall(SYS_dup3, fd, copy, flags);
	if (result >= 0)
		open_file_duplicate(fd, copy);
	return result;
}

/* The C library reads a FILE by calls of its own that nobody sees: a tracked file is fetched as a whole first. */
static bool fetch_whole(const char *path)
{
	const char *name = state_name(path);
	if (name && lookup_file(name) < 0)
		return false;
	struct tracked_file *found = name ? state_find(name) : NULL;
	if (!found || atomic_load(&found->life) == GONE)
		return true;
	int fd = open_named(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0, name);
	if (fd < 0)
		return errno == ENOENT;
	struct stat status;
	struct open_file *file = open_file_of(fd);
	bool fetched = fstat(fd, &status) == 0 && (!file || fetch_range(file, fd, 0, (size_t) status.st_size) == 0);
	open_file_forget(fd);
	raw_close(fd);
	return fetched;
}

static FILE *fopen_next(const char *function, const char *path, const char *mode)
{
	FILE *(*next)(const char *, const char *);
	*(void **) &next = dlsym(RTLD_NEXT, function);
	if (next && fetch_whole(path))
		return next(path, mode);
	errno = EIO;
	return NULL;
}

INTERPOSED FILE *fopen(const char *path, const char *mode)
{
	return fopen_next("fopen", path, mode);
}

INTERPOSED FILE *fopen64(const char *path, const char *mode)
{
	return fopen_next("fopen64", path, mode);
}
