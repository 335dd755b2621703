/*
 * shared-memory.c: the server's shared memory in huge pages, and where the launcher has some to spare, in that. At its start
 * PostgreSQL fills some 20 MB of tables of locks and buffers, and each of its processes maps them anew: a fault for every 4 KiB
 * of it, or one for every 2 MiB.
 */
#include "raw.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shared-memory.h"
#include "state.h"

#define HUGE_PAGE ((size_t) 2 << 20)

/* A file that no other server has or had; -1 when there is none, or it is mapped. */
static int spare_memory = -1;

void shared_memory_initialize(void)
{
	const char *text = getenv("COPPICE_SHARED_MEMORY");
	if (!text)
		return;
	char *end;
	const long descriptor = strtol(text, &end, 10);
	if (*end == '\0' && descriptor > STDERR_FILENO && descriptor <= INT32_MAX && fcntl((int) descriptor, F_SETFD, FD_CLOEXEC) == 0)
		spare_memory = (int) descriptor;
	unsetenv("COPPICE_SHARED_MEMORY");
}

/* What is asked for out of the spare memory; MAP_FAILED when it has too little. The descriptor is not needed any more either way. */
static void *map_spare(void *address, size_t length, int protection, int flags)
{
	struct stat status;
	void *mapped = MAP_FAILED;
	if (fstat(spare_memory, &status) == 0 && length <= (size_t) status.st_size)
		mapped = (void *) syscall(SYS_mmap, address, length, protection, flags & ~MAP_ANONYMOUS, spare_memory, (off_t) 0);
	raw_close(spare_memory);
	spare_memory = -1;
	return mapped;
}

/* The huge pages are only advice: a kernel that gives none, or has none left, maps small pages as ever. */
INTERPOSED void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	const bool is_the_servers = state && (flags & MAP_SHARED) && (flags & MAP_ANONYMOUS) && length >= HUGE_PAGE;
	void *mapped = is_the_servers && spare_memory >= 0 ? map_spare(address, length, protection, flags) : MAP_FAILED;
	if (mapped == MAP_FAILED)
		mapped = (void *) syscall(SYS_mmap, address, length, protection, flags, fd, offset);
	if (is_the_servers && mapped != MAP_FAILED) {
		int saved = errno;
		madvise(mapped, length, MADV_HUGEPAGE);
		errno = saved;
	}
	return mapped;
}

/* What programs call that are built for large files. */
INTERPOSED void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
	return mmap(address, length, protection, flags, fd, (off_t) offset);
}
