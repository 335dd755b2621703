/* state.c: mapping the state file and waiting on it; the format is drawn in state.h. */
#include "raw.h"
#include "state.h"

#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "report.h"

#define WAIT_LIMIT_SECONDS 60

struct state_header *state;

static struct state_layout *layout;
static size_t data_directory_length;
static bool initialized;

static _Noreturn void refuse(const char *path, const char *why)
{
	report("the state file %s cannot be used: %s; the server does not start", path, why);
	_exit(1);
}

static const char *problem_of(const struct state_header *header, uint64_t bytes)
{
	if (memcmp(header->magic, STATE_MAGIC, 8) != 0 || header->version != STATE_VERSION)
		return "it is not of this version";
	if (header->file_bytes != bytes || bytes < sizeof(struct state_layout))
		return "it is shorter than it says";
	if (!memchr(header->socket_path, 0, sizeof header->socket_path) ||
		!memchr(header->data_directory, 0, sizeof header->data_directory))
		return "a path in it does not end";
	return NULL;
}

void state_initialize(void)
{
	if (initialized)
		return;
	initialized = true;

	const char *path = getenv("COPPICE_STATE");
	if (!path || !*path)
		return;
	int saved = errno;
	int fd = raw_openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) < 0)
		refuse(path, strerror(errno));
	if (status.st_size < 4096)
		refuse(path, "it is shorter than its header");
	void *mapped = mmap(NULL, (size_t) status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		refuse(path, strerror(errno));
	raw_close(fd);
	const char *problem = problem_of(mapped, (uint64_t) status.st_size);
	if (problem)
		refuse(path, problem);
	state = mapped;
	layout = mapped;
	data_directory_length = strlen(state->data_directory);
	errno = saved;
}

static bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

const char *state_relative(const char *path)
{
	state_initialize();
	if (!state || !path)
		return NULL;
	if (path[0] == '/') {
		if (strncmp(path, state->data_directory, data_directory_length) != 0 || path[data_directory_length] != '/')
			return NULL;
		path += data_directory_length + 1;
	} else {
		while (path[0] == '.' && path[1] == '/')
			path += 2;
	}
	return path;
}

const char *state_name(const char *path)
{
	path = state_relative(path);
	bool tracked = path && (starts_with(path, "base/") || starts_with(path, "global/") || starts_with(path, "pg_xact/") ||
		starts_with(path, "pg_multixact/"));
	return tracked ? path : NULL;
}

/* FNV-1a. */
static uint32_t chain_of(const char *name)
{
	uint32_t hash = 2166136261u;
	for (; *name; name++)
		hash = (hash ^ (uint8_t) *name) * 16777619u;
	return hash % STATE_CHAINS;
}

/* The agent wrote the list; a number or a range that leads out of the file must not be followed all the same. */
static struct tracked_file *listed(uint32_t number)
{
	struct tracked_file *file = number < STATE_MAX_FILES ? &layout->files[number] : NULL;
	if (file && file->states_at <= state->file_bytes && file->blocks_at_start <= state->file_bytes - file->states_at)
		return file;
	report("the state file is damaged: file %u of its list is not within it", number);
	_exit(1);
}

struct tracked_file *state_find(const char *name)
{
	uint32_t next = atomic_load(&layout->chains[chain_of(name)]);
	while (next > 0) {
		struct tracked_file *file = listed(next - 1);
		if (strncmp(name, file->name, sizeof file->name) == 0)
			return file;
		next = file->next;
	}
	return NULL;
}

bool state_is_local(uint32_t database, uint32_t relation)
{
	uint32_t known = atomic_load(&state->databases);
	for (uint32_t i = 0; i < known && i < STATE_MAX_DATABASES; i++) {
		uint64_t entry = atomic_load(&state->local_from[i]);
		if (entry >> 32 == database)
			return relation >= (uint32_t) entry;
	}
	return false;
}

uint32_t state_file_number(const struct tracked_file *file)
{
	return (uint32_t) (file - layout->files);
}

_Atomic uint8_t *state_of_block(const struct tracked_file *file, uint32_t block)
{
	return (_Atomic uint8_t *) ((char *) state + file->states_at + block);
}

void state_wake(void)
{
	atomic_fetch_add(&state->wakeups, 1);
	if (atomic_load(&state->waiters) > 0)
		syscall(SYS_futex, &state->wakeups, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Sleeps until a wake-up after `seen`, a tenth of a second at most: a waker that dies in between is no loss. */
static void sleep_until_wakeup(uint32_t seen)
{
	const struct timespec limit = {.tv_nsec = 100 * 1000 * 1000};
	syscall(SYS_futex, &state->wakeups, FUTEX_WAIT, seen, &limit, NULL, 0);
}

static bool still_loading(const struct tracked_file *file, uint32_t block)
{
	return atomic_load(state_of_block(file, block)) == LOADING;
}

static bool still_going(const struct tracked_file *file, uint32_t block)
{
	(void) block;
	return atomic_load(&file->life) == GOING;
}

static int wait_while(bool (*busy)(const struct tracked_file *, uint32_t), const struct tracked_file *file, uint32_t block)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	const time_t end = now.tv_sec + WAIT_LIMIT_SECONDS;
	int saved = errno;
	int result = 0;

	atomic_fetch_add(&state->waiters, 1);
	for (;;) {
		uint32_t seen = atomic_load(&state->wakeups);
		if (!busy(file, block))
			break;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > end) {
			report("block %u of %s: another process has been at it for %d s", block, file->name, WAIT_LIMIT_SECONDS);
			result = -1;
			break;
		}
		sleep_until_wakeup(seen);
	}
	atomic_fetch_sub(&state->waiters, 1);
	errno = result < 0 ? EIO : saved;
	return result;
}

int state_wait_block(const struct tracked_file *file, uint32_t block)
{
	return wait_while(still_loading, file, block);
}

int state_wait_gone(const struct tracked_file *file)
{
	return wait_while(still_going, file, 0);
}
