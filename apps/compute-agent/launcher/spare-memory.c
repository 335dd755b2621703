/* spare-memory.c: see spare-memory.h. */
#define _GNU_SOURCE
#include "spare-memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

/* What a huge page has. */
#define UNIT_MIB 2
#define UNIT ((size_t) UNIT_MIB << 20)
/* Of one piece: only what is touched takes memory. Servers that want more have theirs from the kernel, as stock. */
#define UNITS 512
#define BYTES (UNITS * UNIT)
/* A server that has touched more of them has done more than to start. */
#define MOST_AT_START 16
#define MOST_PIECES 4096
#define VARIABLE "COPPICE_SHARED_MEMORY="

/* Every so many servers one begins with an empty piece, so that what they touch is learned anew. */
#define LESSON_EVERY 16

struct piece {
	int memory;
	/* That are filled. */
	uint32_t units;
};
/* In no order. */
static struct piece spare[MOST_PIECES];
static uint32_t spare_count;
static uint32_t spare_units;

static uint32_t wanted_pieces;
static uint32_t wanted_units;

/* The units that servers touch when they start; none while that is not known. */
static struct units {
	bool has[UNITS];
	uint32_t count;
} at_start;

/* The piece that a child fills, and the child. */
static struct piece being_filled = {.memory = -1};
static pid_t filler;

static uint32_t servers_since_lesson;

static void keep(struct piece piece)
{
	spare[spare_count++] = piece;
	spare_units += piece.units;
}

static int take_last(void)
{
	const struct piece piece = spare[--spare_count];
	spare_units -= piece.units;
	return piece.memory;
}

void spare_memory_keep(uint32_t pieces, uint32_t mebibytes)
{
	struct rlimit descriptors;
	const uint64_t room = getrlimit(RLIMIT_NOFILE, &descriptors) == 0 ? descriptors.rlim_cur / 2 : 0;
	wanted_pieces = pieces < MOST_PIECES ? pieces : MOST_PIECES;
	if (wanted_pieces > room)
		wanted_pieces = (uint32_t) room;
	wanted_units = mebibytes / UNIT_MIB;
	while (spare_count > wanted_pieces || spare_units > wanted_units)
		close(take_last());
}

struct spare_memory spare_memory_kept(void)
{
	return (struct spare_memory){.pieces = spare_count, .mebibytes = spare_units * UNIT_MIB};
}

/* Nobody else can open it: a server gets its descriptor. */
static int make(void)
{
	int memory = memfd_create("coppice-shared-memory", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
	/* Kernels before 6.3 do not know how to say that it is no program. */
	if (memory < 0 && errno == EINVAL)
		memory = memfd_create("coppice-shared-memory", MFD_CLOEXEC);
	if (memory >= 0 && (fchmod(memory, 0600) < 0 || ftruncate(memory, BYTES) < 0)) {
		close(memory);
		return -1;
	}
	return memory;
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

struct server_memory spare_memory_take(void)
{
	const struct server_memory none = {.memory = -1};
	if (wanted_pieces == 0)
		return none;
	if (at_start.count == 0 || servers_since_lesson >= LESSON_EVERY) {
		servers_since_lesson = 0;
		return (struct server_memory){.memory = make(), .is_lesson = true};
	}
	servers_since_lesson++;
	return spare_count > 0 ? (struct server_memory){.memory = take_last()} : none;
}

void spare_memory_pass(char **variables, int memory)
{
	static char text[64];
	char **variable = variable_of(variables);
	if (*variable && memory >= 0 && fcntl(memory, F_SETFD, 0) == 0) {
		snprintf(text, sizeof text, VARIABLE "%d", memory);
		*variable = text;
	} else
		for (; *variable; variable++)
			variable[0] = variable[1];
}

void spare_memory_learn(int memory)
{
	struct units touched = {.count = 0};
	for (size_t unit = 0; unit < UNITS; unit++) {
		off_t data = lseek(memory, (off_t) (unit * UNIT), SEEK_DATA);
		if (data < 0)
			break;
		unit = (size_t) data / UNIT;
		touched.has[unit] = true;
		touched.count++;
	}
	if (touched.count > 0 && touched.count <= MOST_AT_START)
		at_start = touched;
}

bool spare_memory_is_short(void)
{
	return being_filled.memory < 0 && at_start.count > 0 && spare_count < wanted_pieces && spare_units + at_start.count <= wanted_units;
}

/*
 * In a process of its own, which has nothing but the piece and the least priority: a cold page takes its time, and where there is
 * no memory for it, this process is the one that the kernel ends, if it ends one.
 */
static _Noreturn void fill(int memory, pid_t launcher)
{
	const struct sched_param none = {0};
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != launcher || dup2(memory, 0) < 0 || syscall(SYS_close_range, 1u, ~0u, 0u) < 0)
		_exit(1);
	int adjust = open("/proc/self/oom_score_adj", O_WRONLY);
	if (adjust < 0 || write(adjust, "1000", 4) != 4 || (sched_setscheduler(0, SCHED_IDLE, &none) < 0 && nice(19) < 0))
		_exit(1);
	char *bytes = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0);
	if (bytes == MAP_FAILED)
		_exit(1);
	madvise(bytes, BYTES, MADV_HUGEPAGE);
	for (size_t unit = 0; unit < UNITS; unit++)
		if (at_start.has[unit])
			memset(bytes + unit * UNIT, 0, UNIT);
	_exit(0);
}

void spare_memory_fill(void)
{
	if (!spare_memory_is_short())
		return;
	int memory = make();
	if (memory < 0)
		return;
	const pid_t launcher = getpid();
	pid_t pid = fork();
	if (pid == 0)
		fill(memory, launcher);
	if (pid < 0) {
		close(memory);
		return;
	}
	being_filled = (struct piece){.memory = memory, .units = at_start.count};
	filler = pid;
}

bool spare_memory_child(pid_t pid, int status)
{
	static bool has_complained;
	const struct piece piece = being_filled;
	if (piece.memory < 0 || pid != filler)
		return false;
	being_filled.memory = -1;
	if (status == 0 && spare_count < wanted_pieces && spare_units + piece.units <= wanted_units)
		keep(piece);
	else
		close(piece.memory);
	if (status == 0)
		return true;
	/* Not again and again, but when somebody wants them once more; and all are let go where there was no memory for this one. */
	if (WIFSIGNALED(status))
		spare_memory_keep(0, 0);
	wanted_pieces = spare_count;
	if (!has_complained)
		fprintf(stderr, "launcher: memory for servers cannot be filled (status %d), they start without\n", status);
	has_complained = true;
	return true;
}
