/*
 * fetch.c: a miss.
 *
 *   claim the block and a run of absent ones after it (absent → loading, each by compare-and-swap)
 *   ask the agent for the run
 *   for each piece of the answer: write it into the local file, then loading → clean, wake who waits
 *   what was not answered: loading → absent
 *
 * The process that installs a block is the one that claimed it, so nothing newer can be overwritten. It installs through
 * a descriptor of its own: the caller's may be read-only (CREATE DATABASE … STRATEGY file_copy opens its source so), and
 * what is written through such a one is lost.
 */
#include "raw.h"
#include "fetch.h"

#include <stdio.h>

#include "claims.h"
#include "page-client.h"
#include "report.h"

/* Pages are received and installed in pieces of this many: small enough to stay in the processor's cache. */
#define PIECE 16
/* A miss this close behind the last run still belongs to the same scan. */
#define SEQUENTIAL_GAP 32

/* How many blocks to ask for at a miss: what the caller needs, doubled with every run that continues a scan. */
static uint32_t run_length(const struct open_file *file, uint32_t block, uint32_t needed)
{
	bool sequential = block >= file->run_end && block - file->run_end < SEQUENTIAL_GAP;
	uint32_t run = sequential ? file->run * 2 : 1;
	if (run < needed)
		run = needed;
	return run < MAX_RUN ? run : MAX_RUN;
}

/* Only a scan that has reached the longest run is worth fetching ahead for, and more so the longer it lasts. */
static uint32_t next_ahead(const struct open_file *file, uint32_t wanted)
{
	if (wanted < MAX_RUN || file->run < MAX_RUN)
		return 0;
	uint32_t ahead = file->ahead > 0 ? file->ahead * 2 : MAX_RUN;
	return ahead < MAX_AHEAD ? ahead : MAX_AHEAD;
}

static int open_own(int fd)
{
	char path[40];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return raw_openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
}

static int write_pages(int fd, const char *pages, size_t length, off_t offset)
{
	while (length > 0) {
		ssize_t written = raw_pwrite(fd, pages, length, offset);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return -1;
		pages += written;
		length -= (size_t) written;
		offset += written;
	}
	return 0;
}

/* Takes `count` answered pages and installs them. Returns how many are installed; fewer than `count` is a failure. */
static uint32_t install(const struct tracked_file *file, int fd, uint32_t block, uint32_t count)
{
	static char pages[PIECE * BLOCK_SIZE];
	int own = open_own(fd);
	uint32_t done = 0;

	if (own < 0)
		report("%s cannot be opened to install block %u: error %d", file->name, block, errno);
	while (own >= 0 && done < count) {
		uint32_t piece = count - done < PIECE ? count - done : PIECE;
		if (page_client_receive(file, block + done, piece, pages) < 0)
			break;
		if (write_pages(own, pages, (size_t) piece * BLOCK_SIZE, (off_t) (block + done) * BLOCK_SIZE) < 0) {
			report("block %u of %s cannot be written: error %d", block + done, file->name, errno);
			break;
		}
		claims_settle(block + done, piece, CLEAN);
		done += piece;
	}
	if (own >= 0)
		raw_close(own);
	if (done < count)
		page_client_disconnect();
	return done;
}

/* Claims a run that begins with `block` and fetches it; nothing to do when the block was not free to claim. */
static int fetch_run(struct open_file *file, int fd, uint32_t block, uint32_t needed)
{
	const struct tracked_file *tracked = file->tracked;
	const uint32_t wanted = run_length(file, block, needed);
	const uint32_t limit = atomic_load(&tracked->tracked);
	uint32_t claimed = 0;

	if (claims_begin(tracked))
		page_client_disconnect();
	while (claimed < wanted && block + claimed < limit && claims_take(block + claimed))
		claimed++;
	bool complete = true;
	if (claimed > 0) {
		file->ahead = next_ahead(file, wanted);
		int answered = page_client_fetch(tracked, block, claimed, file->ahead);
		complete = answered > 0 && install(tracked, fd, block, (uint32_t) answered) == (uint32_t) answered;
		file->run = wanted;
		file->run_end = block + claimed;
	}
	claims_end();
	return complete ? 0 : -1;
}

int fetch_blocks(struct open_file *file, int fd, uint32_t block, uint32_t end)
{
	const struct tracked_file *tracked = file->tracked;
	int saved = errno;

	while (block < end && block < atomic_load(&tracked->tracked)) {
		uint8_t now = atomic_load(state_of_block(tracked, block));
		int result = 0;
		if (now == WARM)
			atomic_compare_exchange_strong(state_of_block(tracked, block), &now, CLEAN);
		else if (now >= CLEAN)
			block++;
		else if (now == LOADING)
			result = state_wait_block(tracked, block);
		else
			result = fetch_run(file, fd, block, end - block);
		if (result < 0) {
			errno = EIO;
			return -1;
		}
	}
	errno = saved;
	return 0;
}

void fetch_soon(struct open_file *file, off_t offset, off_t length)
{
	const struct tracked_file *tracked = file->tracked;
	const uint64_t limit = atomic_load(&tracked->tracked);
	uint64_t block = (uint64_t) offset / BLOCK_SIZE;
	uint64_t end = length > 0 ? ((uint64_t) offset + (uint64_t) length + BLOCK_SIZE - 1) / BLOCK_SIZE : limit;

	if (end > block + MAX_RUN)
		end = block + MAX_RUN;
	if (end > limit)
		end = limit;
	while (block < end) {
		uint64_t next = block;
		while (next < end && atomic_load(state_of_block(tracked, (uint32_t) next)) == ABSENT)
			next++;
		if (next > block)
			page_client_prefetch(tracked, (uint32_t) block, (uint32_t) (next - block));
		block = next + 1;
	}
}
