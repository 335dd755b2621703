/* fetch.h: making sure that blocks are here before they are read. */
#ifndef COPPICE_FETCH_H
#define COPPICE_FETCH_H

#include <sys/types.h>

#include "open-files.h"

/* Slow path of fetch_range: from `block` up to (not with) `end`. */
int fetch_blocks(struct open_file *file, int fd, uint32_t block, uint32_t end);

/*
 * Makes every tracked block of the byte range present in the local file. 0, or -1 with errno EIO after a report.
 * When all are here it costs one look at one byte per block.
 */
static inline int fetch_range(struct open_file *file, int fd, off_t offset, size_t length)
{
	const struct tracked_file *tracked = file->tracked;
	if (!tracked || length == 0 || offset < 0)
		return 0;
	uint64_t end = ((uint64_t) offset + length + BLOCK_SIZE - 1) / BLOCK_SIZE;
	const uint32_t limit = atomic_load_explicit(&tracked->tracked, memory_order_acquire);
	if (end > limit)
		end = limit;
	for (uint64_t block = (uint64_t) offset / BLOCK_SIZE; block < end; block++)
		if (atomic_load_explicit(state_of_block(tracked, (uint32_t) block), memory_order_acquire) < CLEAN)
			return fetch_blocks(file, fd, (uint32_t) block, (uint32_t) end);
	return 0;
}

/* Tells the page source that the absent blocks of the range will be wanted. */
void fetch_soon(struct open_file *file, off_t offset, off_t length);

#endif
