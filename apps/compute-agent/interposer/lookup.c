/* lookup.c: see lookup.h. */
#include "raw.h"
#include "lookup.h"

#include <stdbool.h>
#include <stdio.h>

#include "page-client.h"
#include "relation-file.h"
#include "state.h"

/* How often the agent may say what is forgotten again before it is read. */
#define LOOKUP_ATTEMPTS 3

/* The process that the server began as: the postmaster. */
static pid_t first_process;

__attribute__((constructor)) static void remember_first_process(void)
{
	first_process = getpid();
}

/* Whether all is known of the name that there is to know: it is listed, or local. */
static bool is_known(const char *name, const struct relation_file *file)
{
	char main_fork[sizeof ((struct tracked_file *) NULL)->name];
	if (state_find(name) || state_is_local(file->database, file->relation))
		return true;
	if (file->database == 0)
		snprintf(main_fork, sizeof main_fork, "global/%u", file->relation);
	else
		snprintf(main_fork, sizeof main_fork, "base/%u/%u", file->database, file->relation);
	return state_find(main_fork) != NULL;
}

int lookup_file(const char *name)
{
	struct relation_file file;
	int saved = errno;
	if (state_find(name) || !relation_file_parse(name, &file))
		return 0;
	for (int attempt = 0; attempt < LOOKUP_ATTEMPTS; attempt++) {
		if (is_known(name, &file)) {
			errno = saved;
			return 0;
		}
		if (page_client_lookup(&file) < 0)
			break;
	}
	errno = EIO;
	return -1;
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
	if (!directory || getpid() == first_process || !database_directory_parse(directory, &database) || state_is_local(database, 0))
		return 0;
	if (page_client_lay_database(database) < 0) {
		errno = EIO;
		return -1;
	}
	errno = saved;
	return 0;
}
