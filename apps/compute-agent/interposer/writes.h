/*
 * writes.h: what must happen around a call that changes a file's content or size.
 *
 *   write     growth is counted against the cap → blocks written for the first time are claimed → the call →
 *             they become dirty, or absent again where the call failed
 *   truncate  the tracked size is lowered → claims above it are waited for → the call (undone when it fails)
 */
#ifndef COPPICE_WRITES_H
#define COPPICE_WRITES_H

#include <sys/types.h>

#include "open-files.h"

struct pending_write {
	struct open_file *file;
	int fd;
	off_t offset;
	size_t length;
	/* Blocks that the cap was charged for. */
	uint64_t charged;
	bool claimed;
};

/* Before a write of `length` bytes at `offset`. -1 with errno ENOSPC (cap) or EIO. */
int write_begin(struct pending_write *pending, struct open_file *file, int fd, off_t offset, size_t length);

/* After it; `written` is its result. Returns it. */
ssize_t write_end(struct pending_write *pending, ssize_t written);

/* Before space is reserved up to byte `end`, without writing. -1 with errno ENOSPC. */
int reserve_begin(struct pending_write *pending, struct open_file *file, int fd, off_t end);
void reserve_end(struct pending_write *pending, bool done);

/* Sets the length of an open file, by ftruncate. */
int resize(struct open_file *file, int fd, off_t length);

/* A relation file of `bytes` has gone. */
void uncharge(uint64_t bytes);

#endif
