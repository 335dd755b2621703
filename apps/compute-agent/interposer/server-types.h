/*
 * server-types.h: the parts of PostgreSQL 17's own structures that read-only.c touches, as its headers declare them
 * (nodes/plannodes.h, nodes/parsenodes.h, utils/guc_tables.h, catalog/objectaccess.h): they are fixed within a major
 * version. The server's headers are not needed to build the library; read-only.c checks at run time that what it finds
 * looks as drawn here.
 */
#ifndef COPPICE_SERVER_TYPES_H
#define COPPICE_SERVER_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#define SERVER_MAJOR 17

enum { PGC_INTERNAL, PGC_POSTMASTER, PGC_SIGHUP, PGC_SU_BACKEND, PGC_BACKEND, PGC_SUSET, PGC_USERSET };
enum { PGC_S_OVERRIDE = 10 };
enum { PGC_BOOL, PGC_INT };
enum { OAT_FUNCTION_EXECUTE = 4 };
enum { ROW_EXCLUSIVE_LOCK = 3 };

/* MAKE_SQLSTATE('2','5','0','0','6'), read_only_sql_transaction */
#define READ_ONLY_SQL_TRANSACTION (2 + (5 << 6) + (0 << 12) + (0 << 18) + (6 << 24))

struct config_generic {
	const char *name;
	int context;
	int group;
	const char *short_desc;
	const char *long_desc;
	int flags;
	int vartype;
	int status;
	int source;
	int reset_source;
	int scontext;
	int reset_scontext;
	uint32_t srole;
	uint32_t reset_srole;
	void *stack;
	void *extra;
	void *nondef_link[2];
	void *stack_link;
	void *report_link;
	char *last_reported;
	char *sourcefile;
	int sourceline;
};

typedef bool (*check_bool)(bool *value, void **extra, int source);

struct config_bool {
	struct config_generic gen;
	bool *variable;
	bool boot_val;
	check_bool check_hook;
	void (*assign_hook)(bool, void *);
	const char *(*show_hook)(void);
	bool reset_val;
	void *reset_extra;
};

struct config_int {
	struct config_generic gen;
	int *variable;
};

struct planned_statement {
	int tag;
	int command_type;
	uint64_t query_id;
	bool flags[6];
	int jit_flags;
	void *lists[11];		/* planTree … paramExecTypes */
	void *utility;
};

struct lock_statement {
	int tag;
	void *relations;
	int mode;
	bool nowait;
};

typedef void (*process_utility)(struct planned_statement *, const char *, bool, int, void *, void *, void *, void *);
typedef void (*object_access)(int access, uint32_t class, uint32_t object, int part, void *argument);

#endif
