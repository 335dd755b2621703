/* relation-file.h: names of relations' files. */
#ifndef COPPICE_RELATION_FILE_H
#define COPPICE_RELATION_FILE_H

#include <stdbool.h>
#include <stdint.h>

/* PostgreSQL's FirstNormalObjectId (access/transam.h): lower numbers are catalogs. */
#define FIRST_USER_RELATION 16384

/* PostgreSQL's ForkNumber (common/relpath.h). */
enum fork { MAIN_FORK = 0, FSM_FORK = 1, VM_FORK = 2, INIT_FORK = 3 };

/* `base/<database>/<relation>[_fsm|_vm|_init][.<segment>]`, and the same in `global/`, whose database is 0. */
struct relation_file {
	uint32_t database;
	uint32_t relation;
	uint32_t fork;
	uint32_t segment;
};

/* False for all that is not such a name: maps, temporary relations, transaction status, and so on. */
bool relation_file_parse(const char *name, struct relation_file *file);

/* `base/<database>` or `global`, as a directory. */
bool database_directory_parse(const char *path, uint32_t *database);

#endif
