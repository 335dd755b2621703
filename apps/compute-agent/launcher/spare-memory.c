/* spare-memory.c: see spare-memory.h. */
#define _GNU_SOURCE
#include "spare-memory.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What a huge page has. */
#define UNIT ((size_t) 2 << 20)
/* Of one piece: only what is touched takes memory. Servers that want more have their own, as stock. */
#define UNITS 512
#define BYTES (UNITS * UNIT)
#define VARIABLE "COPPICE_SHARED_MEMORY="
/* Of all lists; more than that many servers on one node are not foreseen. */
#define MOST 4096

/* Pieces by what is next for them; each list is in no order. */
struct list {
	int memory[MOST];
	uint32_t count;
};
static struct list spare;
static struct list to_clean;

static uint32_t wanted;
/* Which of the units of a piece. */
struct units {
	bool has[UNITS];
	uint32_t count;
};
/* Those that servers touch when they start; none while that is not known. */
static struct units at_start;

/* The piece that a child is at, and the child. */
static int worked_on = -1;
static pid_t worker;

static bool add(struct list *list, int memory)
{
	if (list->count == MOST)
		return false;
	list->memory[list->count++] = memory;
	return true;
}

static int take_last(struct list *list)
{
	return list->count > 0 ? list->memory[--list->count] : -1;
}

static int open_anew(int memory, int flags)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
	return open(path, O_RDWR | flags);
}

/* Sealed, so that no server can shorten it under the feet of others. */
static int make(void)
{
	int made = memfd_create("coppice-shared-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (made < 0)
		return -1;
	/* Opened once more, because only what was opened is counted as being in use; see `is_ours_alone`. */
	int memory = ftruncate(made, BYTES) == 0 && fcntl(made, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0
		? open_anew(made, O_CLOEXEC) : -1;
	close(made);
	return memory;
}

/*
 * The kernel gives a lease for writing only on a file that nobody else has open or mapped (fcntl(2), F_SETLEASE): every server
 * opens its piece anew, so this finds each process that was left of it, be it a child that outlived its postmaster.
 */
static bool is_ours_alone(int memory)
{
	if (fcntl(memory, F_SETLEASE, F_WRLCK) < 0)
		return false;
	return fcntl(memory, F_SETLEASE, F_UNLCK) == 0;
}

static struct units units_with_pages(int memory)
{
	struct units units = {.count = 0};
	for (off_t at = 0; at < (off_t) BYTES; ) {
		off_t data = lseek(memory, at, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(memory, data, SEEK_HOLE);
		if (hole < 0)
			break;
		for (size_t unit = (size_t) data / UNIT; unit * UNIT < (size_t) hole; unit++) {
			units.count += !units.has[unit];
			units.has[unit] = true;
		}
		at = hole;
	}
	return units;
}

/* What a server touched later than at its start is not wanted: the least that one touched is nearest to that. */
void spare_memory_learn(int memory)
{
	const struct units units = units_with_pages(memory);
	if (units.count > 0 && (at_start.count == 0 || units.count < at_start.count))
		at_start = units;
}

/* Gives the piece just the pages of a start, all of them zero. */
static bool prepare(int memory)
{
	char *bytes = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	if (bytes == MAP_FAILED)
		return false;
	madvise(bytes, BYTES, MADV_HUGEPAGE);
	const struct units there = units_with_pages(memory);
	for (size_t unit = 0; unit < UNITS; unit++) {
		off_t at = (off_t) (unit * UNIT);
		if (at_start.has[unit])
			memset(bytes + at, 0, UNIT);
		else if (there.has[unit] && fallocate(memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, UNIT) < 0)
			return false;
	}
	return true;
}

static void begin(int memory)
{
	pid_t pid = fork();
	if (pid == 0) {
		const struct sched_param none = {0};
		if (sched_setscheduler(0, SCHED_IDLE, &none) < 0 && nice(19) < 0)
			_exit(1);
		_exit(prepare(memory) ? 0 : 1);
	}
	if (pid < 0) {
		close(memory);
		return;
	}
	worked_on = memory;
	worker = pid;
}

bool spare_memory_child(pid_t pid, int status)
{
	if (worked_on < 0 || pid != worker)
		return false;
	if (status != 0 || spare.count >= wanted || !add(&spare, worked_on))
		close(worked_on);
	/* Not again and again: until somebody wants them once more. */
	if (status != 0)
		wanted = spare.count;
	worked_on = -1;
	return true;
}

void spare_memory_keep(uint32_t count)
{
	wanted = count < MOST ? count : MOST;
	while (spare.count > wanted)
		close(take_last(&spare));
	while (to_clean.count > wanted)
		close(take_last(&to_clean));
}

uint32_t spare_memory_count(void)
{
	return spare.count;
}

static char **variable_of(char **variables)
{
	while (*variables && strncmp(*variables, VARIABLE, strlen(VARIABLE)) != 0)
		variables++;
	return variables;
}

bool spare_memory_is_asked_for(char **variables)
{
	return *variable_of(variables) != NULL;
}

void spare_memory_pass(char **variables, int memory)
{
	static char text[64];
	char **variable = variable_of(variables);
	int own = *variable && memory >= 0 ? open_anew(memory, 0) : -1;
	snprintf(text, sizeof text, VARIABLE "%d", own);
	if (own >= 0)
		*variable = text;
	else
		for (; *variable; variable++)
			variable[0] = variable[1];
}

int spare_memory_take(void)
{
	int memory = take_last(&spare);
	return memory >= 0 || wanted == 0 ? memory : make();
}

void spare_memory_give(int memory, bool cleanly)
{
	if (cleanly)
		spare_memory_learn(memory);
	bool kept = at_start.count > 0 && spare.count + to_clean.count < wanted && is_ours_alone(memory) && add(&to_clean, memory);
	if (!kept)
		close(memory);
}

bool spare_memory_is_short(bool servers_to_learn_from)
{
	return worked_on < 0 && spare.count < wanted && (at_start.count > 0 || servers_to_learn_from);
}

void spare_memory_work(bool is_quiet)
{
	if (worked_on >= 0 || at_start.count == 0)
		return;
	int memory = take_last(&to_clean);
	if (memory < 0 && is_quiet && spare.count < wanted)
		memory = make();
	if (memory >= 0)
		begin(memory);
}
