/* writes.c: see writes.h. */
#include "raw.h"
#include "writes.h"

#include <sys/stat.h>

#include "claims.h"
#include "fetch.h"
#include "page-client.h"

/*
 * TRUNCATE begins new files for a table's indexes before the old ones go: the first blocks of a file may pass the cap, by so
 * many blocks over all files, or nobody at the cap could make room.
 */
#define FIRST_BLOCKS 8
#define BEYOND_CAP 256

static uint64_t blocks_of(uint64_t bytes)
{
	return (bytes + BLOCK_SIZE - 1) / BLOCK_SIZE;
}

void uncharge(uint64_t bytes)
{
	if (bytes > 0)
		atomic_fetch_sub(&state->added, (int64_t) blocks_of(bytes));
	atomic_fetch_add(&state->shrinks, 1);
}

/* Whether with `added` blocks there are too many for a file that must reach block `end`. */
static bool beyond_cap(int64_t added, uint64_t end)
{
	const int64_t sum = atomic_load(&state->at_start) + added;
	const uint64_t used = sum > 0 ? (uint64_t) sum : 0;
	const uint64_t cap = atomic_load(&state->cap);
	return used > cap && used - cap > (end <= FIRST_BLOCKS ? BEYOND_CAP : 0);
}

/* Charges what a file that now must reach `end` grows by. The known end spares a stat on every write inside the file. */
static int charge(struct open_file *file, int fd, uint64_t end, uint64_t *charged)
{
	*charged = 0;
	if (!file->counted)
		return 0;
	const uint32_t shrinks = atomic_load(&state->shrinks);
	if (end <= file->known_end && file->known_at == shrinks)
		return 0;
	struct stat status;
	if (fstat(fd, &status) < 0)
		return -1;
	file->known_end = (uint64_t) status.st_size;
	file->known_at = shrinks;
	if (end <= file->known_end)
		return 0;
	const uint64_t growth = blocks_of(end) - blocks_of(file->known_end);
	const int64_t added = atomic_fetch_add(&state->added, (int64_t) growth) + (int64_t) growth;
	if (growth > 0 && file->capped && beyond_cap(added, blocks_of(end))) {
		atomic_fetch_sub(&state->added, (int64_t) growth);
		errno = ENOSPC;
		return -1;
	}
	*charged = growth;
	return 0;
}

/* A charge for growth that did not (wholly) happen is taken back. */
static void correct_charge(struct pending_write *pending, uint64_t reached)
{
	struct stat status;
	int saved = errno;
	if (pending->charged > 0 && fstat(pending->fd, &status) == 0) {
		uint64_t missing = blocks_of(reached) - blocks_of((uint64_t) status.st_size);
		if ((uint64_t) status.st_size < reached)
			atomic_fetch_sub(&state->added, (int64_t) (missing < pending->charged ? missing : pending->charged));
	}
	pending->file->known_end = 0;
	errno = saved;
}

/* First block wholly inside the range, and the one after the last. Empty when end <= first. */
static void whole_blocks(off_t offset, size_t length, uint64_t limit, uint64_t *first, uint64_t *end)
{
	*first = blocks_of((uint64_t) offset);
	*end = ((uint64_t) offset + length) / BLOCK_SIZE;
	if (*end > limit)
		*end = limit;
}

/* Makes the blocks that are written as a whole dirty, or claims them when their content is not here. */
static int claim_written(const struct tracked_file *tracked, uint64_t first, uint64_t end)
{
	if (claims_begin(tracked))
		page_client_disconnect();
	for (uint64_t block = first; block < end; ) {
		_Atomic uint8_t *byte = state_of_block(tracked, (uint32_t) block);
		uint8_t now = atomic_load(byte);
		if (now == LOADING && state_wait_block(tracked, (uint32_t) block) < 0) {
			claims_end();
			return -1;
		}
		bool here = now == CLEAN || now == WARM;
		bool settled = now == DIRTY || (here && atomic_compare_exchange_strong(byte, &now, DIRTY));
		if (settled || (now == ABSENT && claims_take((uint32_t) block)) || block >= atomic_load(&tracked->tracked))
			block++;
	}
	return 0;
}

/* Whether every block of the range is dirty already: then there is nothing to do but write. */
static bool all_dirty(const struct tracked_file *tracked, uint64_t first, uint64_t end)
{
	for (uint64_t block = first; block < end; block++)
		if (atomic_load_explicit(state_of_block(tracked, (uint32_t) block), memory_order_acquire) != DIRTY)
			return false;
	return true;
}

int write_begin(struct pending_write *pending, struct open_file *file, int fd, off_t offset, size_t length)
{
	*pending = (struct pending_write){.file = file, .fd = fd, .offset = offset, .length = length};
	if (offset < 0 || length == 0)
		return 0;
	if (charge(file, fd, (uint64_t) offset + length, &pending->charged) < 0)
		return -1;
	const struct tracked_file *tracked = file->tracked;
	if (!tracked)
		return 0;

	uint64_t limit = atomic_load(&tracked->tracked);
	uint64_t touched = blocks_of((uint64_t) offset + length);
	if (all_dirty(tracked, (uint64_t) offset / BLOCK_SIZE, touched < limit ? touched : limit))
		return 0;
	/* A block that is written in part must be here first; PostgreSQL itself writes whole ones. */
	off_t last = offset + (off_t) length - 1;
	int result = 0;
	if (offset % BLOCK_SIZE != 0)
		result = fetch_range(file, fd, offset, 1);
	if (result == 0 && (last + 1) % BLOCK_SIZE != 0)
		result = fetch_range(file, fd, last, 1);
	uint64_t first, end;
	whole_blocks(offset, length, limit, &first, &end);
	if (result == 0 && first < end) {
		result = claim_written(tracked, first, end);
		pending->claimed = result == 0;
	}
	if (result < 0)
		correct_charge(pending, (uint64_t) offset + length);
	return result;
}

ssize_t write_end(struct pending_write *pending, ssize_t written)
{
	struct open_file *file = pending->file;
	const uint64_t reached = (uint64_t) pending->offset + pending->length;
	if (pending->claimed) {
		int saved = errno;
		uint64_t first, end;
		whole_blocks(pending->offset, written > 0 ? (size_t) written : 0, atomic_load(&file->tracked->tracked), &first, &end);
		if (first < end)
			claims_settle((uint32_t) first, (uint32_t) (end - first), DIRTY);
		claims_end();
		errno = saved;
	}
	if (written == (ssize_t) pending->length) {
		if (file->counted && reached > file->known_end)
			file->known_end = reached;
	} else {
		correct_charge(pending, reached);
	}
	return written;
}

int reserve_begin(struct pending_write *pending, struct open_file *file, int fd, off_t end)
{
	*pending = (struct pending_write){.file = file, .fd = fd, .offset = end};
	return charge(file, fd, (uint64_t) end, &pending->charged);
}

void reserve_end(struct pending_write *pending, bool done)
{
	if (!done)
		correct_charge(pending, (uint64_t) pending->offset);
	else if (pending->charged > 0)
		pending->file->known_end = (uint64_t) pending->offset;
}

/* Blocks at and after `blocks` become local; whoever is installing one of them finishes first. */
static int lower_tracked(struct tracked_file *tracked, uint32_t blocks, uint32_t *before)
{
	*before = atomic_load(&tracked->tracked);
	while (blocks < *before && !atomic_compare_exchange_weak(&tracked->tracked, before, blocks)) {
	}
	for (uint32_t block = blocks; block < *before; block++)
		if (atomic_load(state_of_block(tracked, block)) == LOADING && state_wait_block(tracked, block) < 0) {
			atomic_store(&tracked->tracked, *before);
			return -1;
		}
	return 0;
}

int resize(struct open_file *file, int fd, off_t length)
{
	struct stat status;
	struct pending_write pending;
	if (length < 0 || fstat(fd, &status) < 0)
		return raw_ftruncate(fd, length);
	if (length >= status.st_size) {
		if (reserve_begin(&pending, file, fd, length) < 0)
			return -1;
		int grown = raw_ftruncate(fd, length);
		reserve_end(&pending, grown == 0);
		return grown;
	}
	/* What is left of a block that is cut in two must be here. */
	if (length % BLOCK_SIZE != 0 && fetch_range(file, fd, length, 1) < 0)
		return -1;
	uint32_t before = 0;
	if (file->tracked && lower_tracked(file->tracked, (uint32_t) blocks_of((uint64_t) length), &before) < 0)
		return -1;
	int result = raw_ftruncate(fd, length);
	if (result < 0) {
		if (file->tracked)
			atomic_store(&file->tracked->tracked, before);
	} else if (file->counted) {
		atomic_fetch_sub(&state->added, (int64_t) (blocks_of((uint64_t) status.st_size) - blocks_of((uint64_t) length)));
		atomic_fetch_add(&state->shrinks, 1);
	}
	return result;
}
