/* calls-write.c: the interposed functions that write to an open file or change its size. */
#include "raw.h"

#include <dlfcn.h>

#include "fetch.h"
#include "open-files.h"
#include "writes.h"

INTERPOSED ssize_t write(int fd, const void *from, size_t length)
{
	struct open_file *file = open_file_of(fd);
	struct pending_write pending;
	if (!file)
		return raw_write(fd, from, length);
	if (write_begin(&pending, file, fd, lseek(fd, 0, SEEK_CUR), length) < 0)
		return -1;
	return write_end(&pending, raw_write(fd, from, length));
}

INTERPOSED ssize_t writev(int fd, const struct iovec *parts, int count)
{
	struct open_file *file = open_file_of(fd);
	struct pending_write pending;
	if (!file)
		return syscall(SYS_writev, fd, parts, count);
	if (write_begin(&pending, file, fd, lseek(fd, 0, SEEK_CUR), parts_length(parts, count)) < 0)
		return -1;
	return write_end(&pending, syscall(SYS_writev, fd, parts, count));
}

static ssize_t write_at(int fd, const void *from, size_t length, off_t offset)
{
	struct open_file *file = open_file_of(fd);
	struct pending_write pending;
	if (!file)
		return raw_pwrite(fd, from, length, offset);
	if (write_begin(&pending, file, fd, offset, length) < 0)
		return -1;
	return write_end(&pending, raw_pwrite(fd, from, length, offset));
}

INTERPOSED ssize_t pwrite(int fd, const void *from, size_t length, off_t offset)
{
	return write_at(fd, from, length, offset);
}

INTERPOSED ssize_t pwrite64(int fd, const void *from, size_t length, off64_t offset)
{
	return write_at(fd, from, length, offset);
}

static ssize_t write_parts_at(int fd, const struct iovec *parts, int count, off_t offset)
{
	struct open_file *file = open_file_of(fd);
	struct pending_write pending;
	if (!file)
		return raw_pwritev(fd, parts, count, offset);
	if (write_begin(&pending, file, fd, offset, parts_length(parts, count)) < 0)
		return -1;
	return write_end(&pending, raw_pwritev(fd, parts, count, offset));
}

INTERPOSED ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	return write_parts_at(fd, parts, count, offset);
}

INTERPOSED ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
	return write_parts_at(fd, parts, count, offset);
}

static int set_length(int fd, off_t length)
{
	struct open_file *file = open_file_of(fd);
	return file ? resize(file, fd, length) : raw_ftruncate(fd, length);
}

INTERPOSED int ftruncate(int fd, off_t length)
{
	return set_length(fd, length);
}

INTERPOSED int ftruncate64(int fd, off64_t length)
{
	return set_length(fd, length);
}

/* Reserving space changes no block's content; the modes that move or drop content are refused, as PostgreSQL uses none. */
static int reserve(int fd, int mode, off_t offset, off_t length)
{
	struct open_file *file = open_file_of(fd);
	struct pending_write pending;
	const bool grows = !(mode & FALLOC_FL_KEEP_SIZE);
	if (file && (mode & ~FALLOC_FL_KEEP_SIZE)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if (file && grows && reserve_begin(&pending, file, fd, offset + length) < 0)
		return -1;
	int result = (int) syscall(SYS_fallocate, fd, mode, offset, length);
	if (file && grows)
		reserve_end(&pending, result == 0);
	return result;
}

INTERPOSED int fallocate(int fd, int mode, off_t offset, off_t length)
{
	return reserve(fd, mode, offset, length);
}

INTERPOSED int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
	return reserve(fd, mode, offset, length);
}

/* Where the file system cannot reserve, the C library writes zeros instead: inside tracked blocks that must not happen. */
static int posix_reserve(int fd, off_t offset, off_t length)
{
	int saved = errno;
	int result = reserve(fd, 0, offset, length) < 0 ? errno : 0;
	errno = saved;
	if (result != EOPNOTSUPP)
		return result;
	struct open_file *file = open_file_of(fd);
	if (file) {
		if (fetch_range(file, fd, offset, (size_t) length) < 0)
			return EIO;
		struct pending_write pending;
		if (reserve_begin(&pending, file, fd, offset + length) < 0)
			return errno;
		reserve_end(&pending, true);
	}
	int (*next)(int, off_t, off_t);
	*(void **) &next = dlsym(RTLD_NEXT, "posix_fallocate");
	return next ? next(fd, offset, length) : ENOSYS;
}

INTERPOSED int posix_fallocate(int fd, off_t offset, off_t length)
{
	return posix_reserve(fd, offset, length);
}

INTERPOSED int posix_fallocate64(int fd, off64_t offset, off64_t length)
{
	return posix_reserve(fd, offset, length);
}

INTERPOSED ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags)
{
	struct open_file *source = open_file_of(from);
	struct open_file *target = open_file_of(to);
	struct pending_write pending;
	if (source && fetch_range(source, from, from_at ? *from_at : lseek(from, 0, SEEK_CUR), length) < 0)
		return -1;
	if (target && write_begin(&pending, target, to, to_at ? *to_at : lseek(to, 0, SEEK_CUR), length) < 0)
		return -1;
	ssize_t copied = syscall(SYS_copy_file_range, from, from_at, to, to_at, length, flags);
	return target ? write_end(&pending, copied) : copied;
}
