/* open-files.c: see open-files.h. */
#include "raw.h"
#include "open-files.h"

#include <string.h>
#include <sys/stat.h>

#include "relation-file.h"
#include "report.h"
#include "writes.h"

struct open_file open_files[MAX_DESCRIPTORS];

void open_file_forget(int fd)
{
	if ((unsigned) fd < MAX_DESCRIPTORS && (open_files[fd].tracked || open_files[fd].counted))
		memset(&open_files[fd], 0, sizeof open_files[fd]);
}

void open_file_duplicate(int fd, int copy)
{
	if ((unsigned) copy >= MAX_DESCRIPTORS)
		return;
	if ((unsigned) fd < MAX_DESCRIPTORS)
		open_files[copy] = open_files[fd];
	else
		open_file_forget(copy);
}

/*
 * Which file did the open find? The name's life is set to `going` before the unlink and to `gone` after it:
 *   alive              the listed one
 *   going              either: wait, then open again
 *   gone, no links     the listed one in its last moment: open again
 *   gone, linked       one that was made here under that name: local
 */
static int listed_file(int fd, struct tracked_file *found, bool made, struct tracked_file **result)
{
	uint32_t life = atomic_load(&found->life);
	*result = NULL;
	if (made) {
		if (life != ALIVE)
			return 0;
		report("%s was made anew although it is listed as existing: it was not laid out", found->name);
		errno = EIO;
		return -1;
	}
	if (life == ALIVE) {
		*result = found;
		return 0;
	}
	struct stat status;
	if (life == GOING && state_wait_gone(found) < 0)
		return -1;
	if (life == GONE && fstat(fd, &status) == 0 && status.st_nlink > 0)
		return 0;
	errno = EAGAIN;
	return -1;
}

int open_file_remember(int fd, const char *name, bool made)
{
	struct tracked_file *tracked = NULL;
	struct tracked_file *found = state_find(name);
	if (found && listed_file(fd, found, made, &tracked) < 0)
		return -1;

	struct relation_file relation;
	bool counted = relation_file_parse(name, &relation) && relation.fork == MAIN_FORK;
	if (!tracked && !counted)
		return 0;
	if ((unsigned) fd >= MAX_DESCRIPTORS) {
		report("%s has descriptor %d; at most %d can be open", name, fd, MAX_DESCRIPTORS);
		errno = EMFILE;
		return -1;
	}
	open_files[fd] = (struct open_file){.tracked = tracked, .counted = counted, .capped = counted && relation.relation >= FIRST_USER_RELATION};
	return 0;
}
