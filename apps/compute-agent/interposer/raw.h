/*
 * raw.h: the system calls themselves. The library defines the C functions of the same names, so it must not call them;
 * going to the kernel needs no symbol look-up either and so works before any constructor has run.
 */
#ifndef COPPICE_RAW_H
#define COPPICE_RAW_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* What a definition in this library needs to be seen by the server. */
#define INTERPOSED __attribute__((visibility("default")))

static inline int raw_openat(int directory, const char *path, int flags, mode_t mode)
{
	return (int) syscall(SYS_openat, directory, path, flags, mode);
}

static inline int raw_close(int fd)
{
	return (int) syscall(SYS_close, fd);
}

static inline ssize_t raw_read(int fd, void *to, size_t length)
{
	return syscall(SYS_read, fd, to, length);
}

static inline ssize_t raw_write(int fd, const void *from, size_t length)
{
	return syscall(SYS_write, fd, from, length);
}

static inline ssize_t raw_pread(int fd, void *to, size_t length, off_t offset)
{
	return syscall(SYS_pread64, fd, to, length, offset);
}

static inline ssize_t raw_pwrite(int fd, const void *from, size_t length, off_t offset)
{
	return syscall(SYS_pwrite64, fd, from, length, offset);
}

/* The kernel takes the offset of the vectored calls in two halves; 64-bit kernels ignore the second. */
static inline ssize_t raw_preadv(int fd, const struct iovec *parts, int count, off_t offset)
{
	return syscall(SYS_preadv, fd, parts, count, offset, 0L);
}

static inline ssize_t raw_pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	return syscall(SYS_pwritev, fd, parts, count, offset, 0L);
}

static inline int raw_ftruncate(int fd, off_t length)
{
	return (int) syscall(SYS_ftruncate, fd, length);
}

static inline int raw_unlink(const char *path)
{
	return (int) syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

static inline int raw_rename(const char *from, const char *to)
{
	return (int) syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0u);
}

/* The C library's `struct stat` is the kernel's on the machines this is built for. */
static inline int raw_stat(const char *path, void *status, int flags)
{
	return (int) syscall(SYS_newfstatat, AT_FDCWD, path, status, flags);
}

static inline size_t parts_length(const struct iovec *parts, int count)
{
	size_t sum = 0;
	for (int i = 0; i < count; i++)
		sum += parts[i].iov_len;
	return sum;
}

#if !defined(__LP64__)
#error "the interposer is written for 64-bit Linux"
#endif

#endif
