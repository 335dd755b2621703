/* calls-read.c: the interposed functions that read, and the advice that they will. */
#include "raw.h"

#include <stdlib.h>

#include "fetch.h"
#include "open-files.h"

INTERPOSED ssize_t __read_chk(int fd, void *to, size_t length, size_t room);
INTERPOSED ssize_t __pread_chk(int fd, void *to, size_t length, off_t offset, size_t room);
INTERPOSED ssize_t __pread64_chk(int fd, void *to, size_t length, off_t offset, size_t room);

/* Where a read or write without an offset begins. -1 for what has no position. */
static off_t position(int fd)
{
	return lseek(fd, 0, SEEK_CUR);
}

static inline bool here(int fd, off_t offset, size_t length)
{
	struct open_file *file = open_file_of(fd);
	return !file || fetch_range(file, fd, offset, length) == 0;
}

INTERPOSED ssize_t read(int fd, void *to, size_t length)
{
	struct open_file *file = open_file_of(fd);
	if (file && fetch_range(file, fd, position(fd), length) < 0)
		return -1;
	return raw_read(fd, to, length);
}

INTERPOSED ssize_t readv(int fd, const struct iovec *parts, int count)
{
	struct open_file *file = open_file_of(fd);
	if (file && fetch_range(file, fd, position(fd), parts_length(parts, count)) < 0)
		return -1;
	return syscall(SYS_readv, fd, parts, count);
}

INTERPOSED ssize_t pread(int fd, void *to, size_t length, off_t offset)
{
	return here(fd, offset, length) ? raw_pread(fd, to, length, offset) : -1;
}

INTERPOSED ssize_t pread64(int fd, void *to, size_t length, off64_t offset)
{
	return here(fd, offset, length) ? raw_pread(fd, to, length, offset) : -1;
}

INTERPOSED ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset)
{
	return here(fd, offset, parts_length(parts, count)) ? raw_preadv(fd, parts, count, offset) : -1;
}

INTERPOSED ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t offset)
{
	return here(fd, offset, parts_length(parts, count)) ? raw_preadv(fd, parts, count, offset) : -1;
}

/* The names that a server built with _FORTIFY_SOURCE imports. */
ssize_t __read_chk(int fd, void *to, size_t length, size_t room)
{
	if (length > room)
		abort();
	return read(fd, to, length);
}

ssize_t __pread_chk(int fd, void *to, size_t length, off_t offset, size_t room)
{
	if (length > room)
		abort();
	return pread(fd, to, length, offset);
}

ssize_t __pread64_chk(int fd, void *to, size_t length, off_t offset, size_t room)
{
	if (length > room)
		abort();
	return pread(fd, to, length, offset);
}

static int advise(int fd, off_t offset, off_t length, int advice)
{
	struct open_file *file = open_file_of(fd);
	if (file && file->tracked && advice == POSIX_FADV_WILLNEED && offset >= 0)
		fetch_soon(file, offset, length);
	int saved = errno;
	int result = syscall(SYS_fadvise64, fd, offset, length, advice) < 0 ? errno : 0;
	errno = saved;
	return result;
}

INTERPOSED int posix_fadvise(int fd, off_t offset, off_t length, int advice)
{
	return advise(fd, offset, length, advice);
}

INTERPOSED int posix_fadvise64(int fd, off64_t offset, off64_t length, int advice)
{
	return advise(fd, offset, length, advice);
}
