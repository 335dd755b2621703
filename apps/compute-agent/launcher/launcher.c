/*
 * launcher.c: starts server processes for the compute agent.
 *
 * To fork copies the page tables of the process that does, and afterwards each page it writes to costs a fault once. The
 * agent is large and in a hurry; this program is neither. It runs as a child of the agent, one per agent, and ends when its
 * standard input does: with it, by their parent-death signal, end the servers.
 *
 *   request   u32 bytes that follow │ u8 kind │ u32 id │ …                      little-endian, on standard input
 *     start   1   u32 uid, u32 gid (0xffffffff: as we are), u32 arguments, u32 variables, then these, each ended by a zero;
 *                 the first argument is the program
 *     signal  2   u32 signal; to one that has ended it goes nowhere
 *     spares  3   u32 pieces of memory that are to be kept for servers, u32 MiB of them, see spare-memory.h; the id says nothing
 *
 *   report    u32 bytes that follow │ u8 kind │ u32 id │ …                      on standard output
 *     started 1   u32 process id
 *     output  2   bytes that it wrote to its standard output or error
 *     ended   3   u32 exit code, u32 signal; the last of its id
 *     spares  4   u32 pieces of memory that are kept now, u32 MiB of them; of no id
 *
 * A program that cannot be run says so in its output and ends with exit code 127: also one for which there is no memory, no
 * descriptor or no process left. That is no reason to end, and to take all other servers along.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spare-memory.h"

#define MAX_REQUEST (1 << 20)
#define OUTPUT_BYTES 16384
#define RETRY_MICROSECONDS 10000
/* After a start: spare memory is filled when nobody else is in a hurry. */
#define QUIET_MILLISECONDS 1000
/* Of a server, until it has touched what it touches when it starts. */
#define STARTED_MILLISECONDS 5000

enum request_kind { START = 1, SIGNAL = 2, SPARES = 3 };
enum report_kind { STARTED = 1, OUTPUT = 2, ENDED = 3, SPARES_KEPT = 4 };

struct server {
	uint32_t id;
	pid_t pid;
	/* -1: at its end. */
	int output;
	/* Of which we want to know what it touches when it starts; -1: nothing to learn. */
	int lesson;
	int64_t began;
	bool exited;
	int status;
};

static struct server *servers;
static size_t server_count;
/* Of the input, of signals, and of the output of each server. */
static struct pollfd *wanted;
static int64_t last_start;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "launcher: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void close_if_open(int descriptor)
{
	if (descriptor >= 0)
		close(descriptor);
}

/* Makes room for `count` servers, so that nothing can fail any more once there are as many. */
static bool make_room(size_t count)
{
	struct server *more = realloc(servers, count * sizeof *more);
	if (more)
		servers = more;
	struct pollfd *polled = realloc(wanted, (count + 2) * sizeof *polled);
	if (polled)
		wanted = polled;
	return more && polled;
}

/* False at the end of the input. */
static bool read_all(void *to, size_t length)
{
	for (char *at = to; length > 0; ) {
		ssize_t got = read(STDIN_FILENO, at, length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += got;
		length -= (size_t) got;
	}
	return true;
}

static void report(enum report_kind kind, uint32_t id, const void *body, uint32_t length)
{
	char head[9];
	uint32_t bytes = 5 + length;
	memcpy(head, &bytes, 4);
	head[4] = (char) kind;
	memcpy(head + 5, &id, 4);
	struct iovec parts[2] = {{head, sizeof head}, {(void *) body, length}};
	for (struct iovec *part = parts; part < parts + 2; ) {
		ssize_t written = writev(STDOUT_FILENO, part, (int) (parts + 2 - part));
		if (written < 0 && errno != EINTR)
			exit(0);
		while (part < parts + 2 && written >= (ssize_t) part->iov_len)
			written -= (ssize_t) (part++)->iov_len;
		if (part < parts + 2 && written > 0) {
			part->iov_base = (char *) part->iov_base + written;
			part->iov_len -= (size_t) written;
		}
	}
}

/* Tells of one that never began. */
static void refuse(uint32_t id, const char *what)
{
	char text[200];
	const uint32_t how[2] = {127, 0};
	int length = snprintf(text, sizeof text, "the program cannot be run: %s: %s\n", what, strerror(errno));
	report(OUTPUT, id, text, (uint32_t) length);
	report(ENDED, id, how, sizeof how);
}

/* `count` strings out of `[*at, end)`, as a list that ends with NULL; NULL, with errno, when they are not there. */
static char **take_strings(char **at, const char *end, uint32_t count)
{
	errno = EINVAL;
	char **list = count > MAX_REQUEST / 2 ? NULL : malloc((count + 1) * sizeof *list);
	if (!list)
		return NULL;
	for (uint32_t i = 0; i < count; i++) {
		char *zero = *at < end ? memchr(*at, 0, (size_t) (end - *at)) : NULL;
		if (!zero) {
			free(list);
			return NULL;
		}
		list[i] = *at;
		*at = zero + 1;
	}
	list[count] = NULL;
	return list;
}

static int64_t milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static _Noreturn void become(uint32_t uid, uint32_t gid, char **arguments, char **variables, int output, int memory)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	spare_memory_pass(variables, memory);
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	bool ready = dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0 && nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 &&
		setsid() >= 0 && chdir("/") == 0;
	if (ready && uid != UINT32_MAX)
		ready = setgroups(0, NULL) == 0 && setgid(gid) == 0 && setuid(uid) == 0;
	if (ready)
		execve(arguments[0], arguments, variables);
	dprintf(STDERR_FILENO, "%s cannot be run: %s\n", arguments[0], strerror(errno));
	_exit(127);
}

static void start(uint32_t id, uint32_t uid, uint32_t gid, char **arguments, char **variables)
{
	int output[2];
	if (!make_room(server_count + 1))
		return refuse(id, "memory");
	if (pipe2(output, O_CLOEXEC) < 0) {
		/* Memory that is kept takes descriptors, too. */
		spare_memory_keep(0, 0);
		if (pipe2(output, O_CLOEXEC) < 0)
			return refuse(id, "pipe");
	}
	const struct server_memory given = spare_memory_is_asked_for(variables) ? spare_memory_take() : (struct server_memory){.memory = -1};
	int lesson = given.is_lesson ? given.memory : -1;
	last_start = milliseconds();
	pid_t pid = fork();
	if (pid == 0)
		become(uid, gid, arguments, variables, output[1], given.memory);
	if (pid < 0) {
		refuse(id, "fork");
		close(output[0]);
		close_if_open(lesson);
	} else {
		const uint32_t number = (uint32_t) pid;
		servers[server_count++] = (struct server){.id = id, .pid = pid, .output = output[0], .lesson = lesson, .began = last_start};
		report(STARTED, id, &number, sizeof number);
	}
	if (!given.is_lesson)
		close_if_open(given.memory);
	close(output[1]);
}

static void take_start(uint32_t id, char *body, const char *end)
{
	uint32_t numbers[4];
	if (end - body < (ptrdiff_t) sizeof numbers)
		fail("a request is too short");
	memcpy(numbers, body, sizeof numbers);
	body += sizeof numbers;
	char **arguments = take_strings(&body, end, numbers[2]);
	char **variables = arguments ? take_strings(&body, end, numbers[3]) : NULL;
	if (variables && numbers[2] > 0)
		start(id, numbers[0], numbers[1], arguments, variables);
	else
		refuse(id, "its arguments");
	free(arguments);
	free(variables);
}

static void send_signal(uint32_t id, const char *body, const char *end)
{
	uint32_t number;
	if (end - body < (ptrdiff_t) sizeof number)
		fail("a request is too short");
	memcpy(&number, body, sizeof number);
	for (size_t i = 0; i < server_count; i++)
		if (servers[i].id == id && !servers[i].exited)
			kill(servers[i].pid, (int) number);
}

static void keep_spares(const char *body, const char *end)
{
	uint32_t numbers[2];
	if (end - body < (ptrdiff_t) sizeof numbers)
		fail("a request is too short");
	memcpy(numbers, body, sizeof numbers);
	spare_memory_keep(numbers[0], numbers[1]);
}

static void take_request(void)
{
	static char request[MAX_REQUEST];
	uint32_t bytes, id;
	if (!read_all(&bytes, sizeof bytes))
		exit(0);
	if (bytes < 5 || bytes > MAX_REQUEST)
		fail("a request has a wrong size");
	if (!read_all(request, bytes))
		exit(0);
	memcpy(&id, request + 1, sizeof id);
	if (request[0] == START)
		take_start(id, request + 5, request + bytes);
	else if (request[0] == SIGNAL)
		send_signal(id, request + 5, request + bytes);
	else if (request[0] == SPARES)
		keep_spares(request + 5, request + bytes);
}

static void take_output(struct server *server)
{
	static char bytes[OUTPUT_BYTES];
	ssize_t got = read(server->output, bytes, sizeof bytes);
	if (got > 0)
		report(OUTPUT, server->id, bytes, (uint32_t) got);
	else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
		close(server->output);
		server->output = -1;
	}
}

/* What a server that has ended still left in its pipe. Its children may hold that open for longer. */
static void take_rest(struct server *server)
{
	struct pollfd one = {.fd = server->output, .events = POLLIN};
	while (server->output >= 0 && poll(&one, 1, 0) > 0)
		take_output(server);
	if (server->output >= 0)
		close(server->output);
	server->output = -1;
}

static void take_exits(int signals)
{
	struct signalfd_siginfo info;
	while (read(signals, &info, sizeof info) > 0) {
	}
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0; ) {
		if (spare_memory_child(pid, status))
			continue;
		for (size_t i = 0; i < server_count; i++)
			if (servers[i].pid == pid) {
				servers[i].exited = true;
				servers[i].status = status;
			}
	}
	for (size_t i = 0; i < server_count; ) {
		struct server *server = &servers[i];
		if (!server->exited) {
			i++;
			continue;
		}
		take_rest(server);
		uint32_t how[2] = {
			WIFEXITED(server->status) ? (uint32_t) WEXITSTATUS(server->status) : 0,
			WIFSIGNALED(server->status) ? (uint32_t) WTERMSIG(server->status) : 0,
		};
		report(ENDED, server->id, how, sizeof how);
		/* One that ended in good order had started. */
		if (server->lesson >= 0 && server->status == 0)
			spare_memory_learn(server->lesson);
		close_if_open(server->lesson);
		*server = servers[--server_count];
	}
}

/* Sees to the memory that is kept, and tells how much that is. Returns for how long nothing is to be done for it; -1: for good. */
static int tend_spares(void)
{
	static struct spare_memory told;
	const int64_t now = milliseconds();
	bool waits = false;
	for (struct server *server = servers; server < servers + server_count; server++) {
		if (server->lesson < 0)
			continue;
		waits = true;
		if (now - server->began < STARTED_MILLISECONDS)
			continue;
		spare_memory_learn(server->lesson);
		close(server->lesson);
		server->lesson = -1;
	}
	if (now - last_start >= QUIET_MILLISECONDS)
		spare_memory_fill();
	const struct spare_memory kept = spare_memory_kept();
	if (memcmp(&kept, &told, sizeof kept) != 0)
		report(SPARES_KEPT, 0, &kept, sizeof kept);
	told = kept;
	return waits || spare_memory_is_short() ? QUIET_MILLISECONDS : -1;
}

int main(void)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* A terminal's signals are for the agent. */
	setsid();
	int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		fail("signalfd");
	if (!make_room(1))
		fail("memory");
	for (;;) {
		const int patience = tend_spares();
		size_t count = server_count;
		wanted[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
		wanted[1] = (struct pollfd){.fd = signals, .events = POLLIN};
		for (size_t i = 0; i < count; i++)
			wanted[i + 2] = (struct pollfd){.fd = servers[i].output, .events = POLLIN};
		/* The kernel may lack memory for a moment, too. */
		if (poll(wanted, count + 2, patience) < 0) {
			if (errno != EINTR && errno != ENOMEM && errno != EAGAIN)
				fail("poll");
			usleep(RETRY_MICROSECONDS);
			continue;
		}
		for (size_t i = 0; i < count; i++)
			if (servers[i].output >= 0 && (wanted[i + 2].revents & (POLLIN | POLLHUP | POLLERR)))
				take_output(&servers[i]);
		const bool has_request = wanted[0].revents != 0;
		if (wanted[1].revents)
			take_exits(signals);
		if (has_request)
			take_request();
	}
}
