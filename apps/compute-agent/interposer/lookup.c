/* lookup.c: see lookup.h. */
#include "raw.h"
#include "lookup.h"

#include <stdbool.h>

#include "page-client.h"
#include "relation-file.h"
#include "state.h"

/* The process that the server began as: the postmaster. */
static pid_t first_process;

__attribute__((constructor)) static void remember_first_process(void)
{
	first_process = getpid();
}

int lookup_file(const char *name)
{
	struct relation_file file;
	int saved = errno;
	if (state_find(name) || !relation_file_parse(name, &file))
		return 0;
	if (page_client_lookup(&file) < 0 || !state_find(name)) {
		errno = EIO;
		return -1;
	}
	errno = saved;
	return 0;
}

int lookup_path(const char *path)
{
	const char *name = state_name(path);
	return name ? lookup_file(name) : 0;
}

/* The postmaster lists directories at its start, for temporary files of an earlier life: there was none. */
int lookup_directory(const char *path)
{
	const char *directory = state_relative(path);
	uint32_t database;
	int saved = errno;
	if (!directory || getpid() == first_process || !database_directory_parse(directory, &database))
		return 0;
	if (page_client_lay_database(database) < 0) {
		errno = EIO;
		return -1;
	}
	errno = saved;
	return 0;
}
