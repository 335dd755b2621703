/*
 * open-files.h: what each descriptor of this process stands for, by number. Forked children inherit the table as they
 * inherit the descriptors.
 */
#ifndef COPPICE_OPEN_FILES_H
#define COPPICE_OPEN_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "state.h"

#define MAX_DESCRIPTORS 65536

struct open_file {
	/* NULL: local as a whole. */
	struct tracked_file *tracked;
	/* A relation file: its growth counts against the cap … */
	bool counted;
	/* … and is refused beyond it. Catalogs, maps and system processes' files may always grow: freeing space needs them. */
	bool capped;
	/* Where the last run of fetched blocks ended, and how long it was: a miss there is a sequential scan. */
	uint32_t run;
	uint32_t run_end;
	/* How many blocks after a run the page source is told to fetch already; grows while a scan goes on. */
	uint32_t ahead;
	/* The file is known to reach here, as long as `shrinks` is still `known_at`. */
	uint32_t known_at;
	uint64_t known_end;
};

extern struct open_file open_files[MAX_DESCRIPTORS];

/* The tracked or counted file behind a descriptor; NULL for everything else. */
static inline struct open_file *open_file_of(int fd)
{
	if ((unsigned) fd >= MAX_DESCRIPTORS)
		return NULL;
	struct open_file *file = &open_files[fd];
	return file->tracked || file->counted ? file : NULL;
}

/* The descriptor stands for nothing of ours (any more). */
void open_file_forget(int fd);

/*
 * The descriptor was just opened under `name` (as `state_name` gives it); `made` when that call created the file.
 * 0, or -1 with errno: EAGAIN when the name has changed hands meanwhile and the caller must open again.
 */
int open_file_remember(int fd, const char *name, bool made);

/* `copy` is another number for what `fd` is. */
void open_file_duplicate(int fd, int copy);

#endif
