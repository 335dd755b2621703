/*
 * shared-memory.c: the server's shared memory in huge pages. At its start PostgreSQL fills some 20 MB of tables of locks and
 * buffers, and each of its processes maps them anew: a fault for every 4 KiB of it, or one for every 2 MiB.
 */
#include "raw.h"

#include <sys/mman.h>

#include "state.h"

#define HUGE_PAGE ((size_t) 2 << 20)

/* Only advice: a kernel that gives none, or has none left, maps small pages as ever. */
INTERPOSED void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	void *mapped = (void *) syscall(SYS_mmap, address, length, protection, flags, fd, offset);
	if (state && mapped != MAP_FAILED && (flags & MAP_SHARED) && (flags & MAP_ANONYMOUS) && length >= HUGE_PAGE) {
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
