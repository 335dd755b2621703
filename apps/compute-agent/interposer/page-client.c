/* page-client.c: see page-client.h. */
#include "raw.h"
#include "page-client.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "claims.h"
#include "report.h"

#define ANSWER_LIMIT_SECONDS 60
#define PROTOCOL_VERSION 2
#define MAX_FAILURE_TEXT 512

enum request_kind { HELLO = 1, FETCH = 2, PREFETCH = 3, LOOK_UP = 4, LAY_DATABASE = 5 };

struct request {
	uint8_t kind;
	uint8_t zero[3];
	uint32_t file;
	uint32_t block;
	uint32_t count;
	uint32_t ahead;
	uint32_t sequence;
};

struct answer {
	uint8_t failed;
	uint8_t zero[3];
	uint32_t sequence;
	uint32_t count;
	uint32_t local;
};

_Static_assert(sizeof(struct request) == 24 && sizeof(struct answer) == 16, "as drawn");

static int connection = -1;
static pid_t connected_by;
static uint32_t sequence;
/* Between a look-up and its answer: left behind when the process jumps out of it, and then the answer is still to come. */
static bool looking_up;

static time_t seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

void page_client_disconnect(void)
{
	if (connection >= 0)
		raw_close(connection);
	connection = -1;
}

static struct request hello(void)
{
	struct request request = {.kind = HELLO, .count = PROTOCOL_VERSION, .ahead = (uint32_t) getpid()};
	memcpy(&request.file, &state->nonce, sizeof state->nonce);
	return request;
}

/* Waits for the socket until `end`. */
static bool ready(short what, time_t end)
{
	for (;;) {
		time_t left = end - seconds();
		struct pollfd wanted = {.fd = connection, .events = what};
		int result = left > 0 ? poll(&wanted, 1, (int) left * 1000) : 0;
		if (result > 0)
			return true;
		if (result == 0)
			errno = ETIMEDOUT;
		if (result == 0 || errno != EINTR)
			return false;
	}
}

static bool send_all(const void *from, size_t length, time_t end)
{
	const char *at = from;
	while (length > 0) {
		ssize_t sent = send(connection, at, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent > 0) {
			at += sent;
			length -= (size_t) sent;
		} else if (errno != EINTR && (errno != EAGAIN || !ready(POLLOUT, end))) {
			return false;
		}
	}
	return true;
}

static bool receive_all(void *to, size_t length, time_t end)
{
	char *at = to;
	while (length > 0) {
		ssize_t received = recv(connection, at, length, MSG_DONTWAIT);
		if (received > 0) {
			at += received;
			length -= (size_t) received;
		} else if (received == 0) {
			errno = ECONNRESET;
			return false;
		} else if (errno != EINTR && (errno != EAGAIN || !ready(POLLIN, end))) {
			return false;
		}
	}
	return true;
}

/* A connection of this very process: one inherited by fork belongs to the parent and is only closed. */
static bool connect_as_self(time_t end)
{
	pid_t self = getpid();
	if (connection >= 0 && connected_by == self)
		return true;
	page_client_disconnect();
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(state->socket_path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return false;
	}
	strcpy(address.sun_path, state->socket_path);
	connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection < 0)
		return false;
	connected_by = self;
	while (connect(connection, (struct sockaddr *) &address, sizeof address) < 0)
		if (errno != EINTR || seconds() > end)
			return false;
	struct request request = hello();
	return send_all(&request, sizeof request, end);
}

/* Sends the request and reads the head of its answer. */
static bool exchange(const struct request *request, struct answer *answer, time_t end)
{
	if (connect_as_self(end) && send_all(request, sizeof *request, end) && receive_all(answer, sizeof *answer, end))
		return true;
	int why = errno;
	page_client_disconnect();
	errno = why;
	return false;
}

/* Sends the request and reads the head of its answer; 0, or -1 with why not. */
static int ask(struct request *request, struct answer *answer, time_t end, char why[MAX_FAILURE_TEXT + 1])
{
	/* An old connection may have been closed by an agent that began anew: try once more on a fresh one. */
	bool had_connection = connection >= 0 && connected_by == getpid();
	request->sequence = ++sequence;
	bool answered = exchange(request, answer, end);
	if (!answered && had_connection && errno != ETIMEDOUT)
		answered = exchange(request, answer, end);
	if (!answered)
		snprintf(why, MAX_FAILURE_TEXT + 1, "%s", strerror(errno));
	else if (answer->sequence != request->sequence)
		snprintf(why, MAX_FAILURE_TEXT + 1, "the agent answered something else");
	else if (!answer->failed)
		return 0;
	else if (answer->count <= MAX_FAILURE_TEXT && receive_all(why, answer->count, end)) {
		why[answer->count] = 0;
		return -1;
	} else
		snprintf(why, MAX_FAILURE_TEXT + 1, "the agent's answer is malformed");
	page_client_disconnect();
	return -1;
}

static int failure(const struct tracked_file *file, uint32_t block, const char *why)
{
	report("block %u of %s could not be fetched: %s", block, file->name, why);
	return -1;
}

int page_client_fetch(const struct tracked_file *file, uint32_t block, uint32_t count, uint32_t ahead)
{
	struct request request = {.kind = FETCH, .file = state_file_number(file), .block = block, .count = count};
	struct answer answer;
	char why[MAX_FAILURE_TEXT + 1];

	request.ahead = ahead;
	if (looking_up)
		page_client_disconnect();
	looking_up = false;
	if (ask(&request, &answer, seconds() + ANSWER_LIMIT_SECONDS, why) < 0)
		return failure(file, block, why);
	if (answer.count > 0 && answer.count <= count)
		return (int) answer.count;
	page_client_disconnect();
	return failure(file, block, "the agent answered with a wrong number of pages");
}

int page_client_receive(const struct tracked_file *file, uint32_t block, uint32_t count, char *pages)
{
	if (receive_all(pages, (size_t) count * BLOCK_SIZE, seconds() + ANSWER_LIMIT_SECONDS))
		return 0;
	failure(file, block, strerror(errno));
	page_client_disconnect();
	return -1;
}

void page_client_prefetch(const struct tracked_file *file, uint32_t block, uint32_t count)
{
	int saved = errno;
	struct request request = {.kind = PREFETCH, .file = state_file_number(file), .block = block, .count = count};
	/* A request this small goes whole or not at all. */
	if (connect_as_self(seconds() + 1))
		send(connection, &request, sizeof request, MSG_NOSIGNAL | MSG_DONTWAIT);
	else
		page_client_disconnect();
	errno = saved;
}

/* What comes into being here is local; it is charged by the process that made it come. */
static int look_up(struct request *request, const char *what)
{
	struct answer answer;
	char why[MAX_FAILURE_TEXT + 1];

	if (looking_up || claims_abandoned())
		page_client_disconnect();
	looking_up = true;
	int result = ask(request, &answer, seconds() + ANSWER_LIMIT_SECONDS, why);
	looking_up = false;
	if (result < 0)
		report("%s cannot be looked up: %s", what, why);
	else if (answer.local > 0)
		atomic_fetch_add(&state->added, answer.local);
	return result;
}

int page_client_lookup(const struct relation_file *file)
{
	char what[80];
	struct request request = {.kind = LOOK_UP, .file = file->database, .block = file->relation, .count = file->fork};
	request.ahead = file->segment;
	snprintf(what, sizeof what, "relation %u of database %u", file->relation, file->database);
	return look_up(&request, what);
}

int page_client_lay_database(uint32_t database)
{
	char what[80];
	struct request request = {.kind = LAY_DATABASE, .file = database};
	snprintf(what, sizeof what, "database %u", database);
	return look_up(&request, what);
}
