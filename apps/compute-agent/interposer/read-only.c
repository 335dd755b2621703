/*
 * read-only.c: sessions that cannot write, whatever SQL they send.
 *
 * The server listens in two socket directories. A session that came in through the one named `read-only` is locked before
 * its start-up packet is read, in three layers that SQL cannot reach:
 *
 *   settings    `transaction_read_only` and `default_transaction_read_only` are on, and neither can be turned off: their
 *               check functions refuse it, wherever the value comes from (SET, functions, roles, start-up options).
 *               Turning them on stays possible, as pg_dump and drivers do.
 *   commands    what PostgreSQL lets a read-only transaction do although others see it (NOTIFY, PREPARE TRANSACTION,
 *               VACUUM, strong locks …) is refused, about as a hot standby refuses it
 *   functions   likewise for the built-in functions that do such things
 *
 * The rest is PostgreSQL's own work: it refuses writes while XactReadOnly is set. A server that lacks one of these
 * symbols, or that does not look like the expected major version, ends the session: nobody gets a writable one instead.
 */
#include "raw.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "report.h"
#include "server-types.h"

#define DIRECTORY_NAME "/read-only"
#define SOCKET_NAME "/.s.PGSQL."

/* Command tags (tcop/cmdtaglist.h). */
static const char *const refused_commands[] = {
	"ALTER SYSTEM", "ANALYZE", "CHECKPOINT", "CLUSTER", "COMMIT PREPARED", "LISTEN", "LOAD", "NOTIFY", "PREPARE TRANSACTION",
	"REINDEX", "ROLLBACK PREPARED", "VACUUM",
};

static const struct {
	uint32_t first;
	uint32_t last;
	const char *name;
} refused_functions[] = {
	{2096, 2096, "pg_terminate_backend()"},
	{2171, 2171, "pg_cancel_backend()"},
	{2880, 2883, "advisory lock functions"},
	{2886, 2889, "advisory lock functions"},
	{2943, 2943, "txid_current()"},
	{3036, 3036, "pg_notify()"},
	{3089, 3096, "advisory lock functions"},
	{3577, 3578, "pg_logical_emit_message()"},
	{3789, 3789, "gin_clean_pending_list()"},
	{3952, 3952, "brin_summarize_new_values()"},
	{3999, 3999, "brin_summarize_range()"},
	{4014, 4014, "brin_desummarize_range()"},
	{5059, 5059, "pg_current_xact_id()"},
};

static struct {
	struct config_generic *(*find_option)(const char *, bool, bool, int);
	void (*set_option)(const char *, const char *, int, int);
	void (*check_errcode)(int);
	char **check_message;
	bool *read_only;
	bool *default_read_only;
	check_bool check_read_only;
	int (*command_tag)(void *);
	const char *(*command_name)(int);
	void (*prevent)(const char *);
	process_utility *utility_hook;
	process_utility utility;
	object_access *access_hook;
} server;

static process_utility next_utility;
static object_access next_access;

static _Noreturn void refuse_session(const char *why)
{
	report("a read-only session cannot be locked: %s; it is refused", why);
	_exit(1);
}

/* `to` is a pointer to a function or object pointer: what dlsym returns is stored as it is. */
static void look_up(void *to, const char *name)
{
	void *found = dlsym(RTLD_DEFAULT, name);
	if (!found)
		refuse_session(name);
	memcpy(to, &found, sizeof found);
}

static void look_up_all(void)
{
	look_up(&server.find_option, "find_option");
	look_up(&server.set_option, "SetConfigOption");
	look_up(&server.check_errcode, "GUC_check_errcode");
	look_up(&server.check_message, "GUC_check_errmsg_string");
	look_up(&server.read_only, "XactReadOnly");
	look_up(&server.default_read_only, "DefaultXactReadOnly");
	look_up(&server.check_read_only, "check_transaction_read_only");
	look_up(&server.command_tag, "CreateCommandTag");
	look_up(&server.command_name, "GetCommandTagName");
	look_up(&server.prevent, "PreventCommandIfReadOnly");
	look_up(&server.utility_hook, "ProcessUtility_hook");
	look_up(&server.utility, "standard_ProcessUtility");
	look_up(&server.access_hook, "object_access_hook");
}

static bool stays_on(bool *value, void **extra, int source)
{
	static char message[] = "cannot set transaction read-write mode: this session is read-only";
	(void) extra;
	(void) source;
	if (*value)
		return true;
	server.check_errcode(READ_ONLY_SQL_TRANSACTION);
	*server.check_message = message;
	return false;
}

/* The setting of that name, when it is the boolean that we know. */
static struct config_bool *setting(const char *name, const bool *variable)
{
	struct config_generic *found = server.find_option(name, false, true, 0);
	struct config_bool *option = (struct config_bool *) found;
	if (!found || strcmp(found->name, name) != 0 || found->context != PGC_USERSET || found->vartype != PGC_BOOL ||
		option->variable != variable)
		refuse_session(name);
	return option;
}

static void check_version(void)
{
	struct config_generic *found = server.find_option("server_version_num", false, true, 0);
	if (!found || found->vartype != PGC_INT || found->context != PGC_INTERNAL ||
		*((struct config_int *) found)->variable / 10000 != SERVER_MAJOR)
		refuse_session("the server is of another version");
}

static void lock_settings(void)
{
	struct config_bool *now = setting("transaction_read_only", server.read_only);
	struct config_bool *always = setting("default_transaction_read_only", server.default_read_only);
	if (now->check_hook != server.check_read_only || always->check_hook)
		refuse_session("the settings' check functions");
	server.set_option(always->gen.name, "on", PGC_POSTMASTER, PGC_S_OVERRIDE);
	server.set_option(now->gen.name, "on", PGC_POSTMASTER, PGC_S_OVERRIDE);
	if (!*server.default_read_only || !*server.read_only || !always->reset_val || !now->reset_val)
		refuse_session("the settings do not take effect");
	always->boot_val = true;
	now->boot_val = true;
	always->check_hook = stays_on;
	now->check_hook = stays_on;
}

static bool is_strong_lock(const char *command, const struct planned_statement *statement)
{
	return strcmp(command, "LOCK TABLE") == 0 &&
		((const struct lock_statement *) statement->utility)->mode > ROW_EXCLUSIVE_LOCK;
}

static void on_utility(struct planned_statement *statement, const char *query, bool read_only_tree, int context,
	void *parameters, void *environment, void *receiver, void *completion)
{
	const char *command = server.command_name(server.command_tag(statement));
	bool refused = is_strong_lock(command, statement);
	for (size_t i = 0; i < sizeof refused_commands / sizeof *refused_commands; i++)
		refused = refused || strcmp(command, refused_commands[i]) == 0;
	if (refused)
		server.prevent(command);
	(next_utility ? next_utility : server.utility)(statement, query, read_only_tree, context, parameters, environment,
		receiver, completion);
}

static void on_access(int access, uint32_t class, uint32_t object, int part, void *argument)
{
	for (size_t i = 0; access == OAT_FUNCTION_EXECUTE && i < sizeof refused_functions / sizeof *refused_functions; i++)
		if (object >= refused_functions[i].first && object <= refused_functions[i].last)
			server.prevent(refused_functions[i].name);
	if (next_access)
		next_access(access, class, object, part, argument);
}

static void lock_session(void)
{
	static bool locked;
	if (locked)
		return;
	locked = true;
	look_up_all();
	check_version();
	lock_settings();
	next_utility = *server.utility_hook;
	*server.utility_hook = on_utility;
	next_access = *server.access_hook;
	*server.access_hook = on_access;
}

/* Whether it is the address of a server's socket in a directory of our name. */
static bool is_read_only(const struct sockaddr *address, size_t length)
{
	const struct sockaddr_un *unix_address = (const void *) address;
	const size_t before = offsetof(struct sockaddr_un, sun_path);
	if (length <= before || address->sa_family != AF_UNIX)
		return false;
	char path[sizeof unix_address->sun_path + 1] = "";
	size_t bytes = length - before;
	memcpy(path, unix_address->sun_path, bytes < sizeof path - 1 ? bytes : sizeof path - 1);
	char *name = strrchr(path, '/');
	if (!name || strncmp(name, SOCKET_NAME, strlen(SOCKET_NAME)) != 0)
		return false;
	*name = 0;
	char *directory = strrchr(path, '/');
	return directory && strcmp(directory, DIRECTORY_NAME) == 0;
}

/*
 * A backend asks once, before it reads its start-up packet, for the address through which its client came (pq_init in
 * libpq/pqcomm.c); nothing else in the server asks for the address of a server socket.
 */
INTERPOSED int getsockname(int fd, __SOCKADDR_ARG address, socklen_t *restrict length)
{
	struct sockaddr *got = address.__sockaddr__;
	int result = (int) syscall(SYS_getsockname, fd, got, length);
	if (result == 0 && got && is_read_only(got, *length)) {
		int saved = errno;
		lock_session();
		errno = saved;
	}
	return result;
}
