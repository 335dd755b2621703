/* relation-file.c: see relation-file.h. */
#include "raw.h"
#include "relation-file.h"

#include <string.h>

static bool skip_text(const char **at, const char *text)
{
	size_t length = strlen(text);
	if (strncmp(*at, text, length) != 0)
		return false;
	*at += length;
	return true;
}

static bool skip_number(const char **at, uint32_t *number)
{
	const char *digit = *at;
	uint64_t value = 0;
	for (; *digit >= '0' && *digit <= '9' && value <= UINT32_MAX; digit++)
		value = value * 10 + (uint64_t) (*digit - '0');
	bool found = digit > *at && value <= UINT32_MAX;
	*at = digit;
	*number = (uint32_t) value;
	return found;
}

static uint32_t skip_fork(const char **at)
{
	if (skip_text(at, "_fsm"))
		return FSM_FORK;
	if (skip_text(at, "_vm"))
		return VM_FORK;
	return skip_text(at, "_init") ? INIT_FORK : MAIN_FORK;
}

bool relation_file_parse(const char *name, struct relation_file *file)
{
	const char *at = name;
	*file = (struct relation_file){0};
	if (!skip_text(&at, "global/") && (!skip_text(&at, "base/") || !skip_number(&at, &file->database) || !skip_text(&at, "/")))
		return false;
	if (!skip_number(&at, &file->relation))
		return false;
	file->fork = skip_fork(&at);
	if (skip_text(&at, ".") && (!skip_number(&at, &file->segment) || file->segment == 0))
		return false;
	return *at == 0;
}

bool database_directory_parse(const char *path, uint32_t *database)
{
	const char *at = path;
	*database = 0;
	if (!skip_text(&at, "global") && (!skip_text(&at, "base/") || !skip_number(&at, database)))
		return false;
	while (*at == '/')
		at++;
	return *at == 0;
}
