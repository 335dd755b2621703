/*
 * spare-memory.h: shared memory for servers, there before they are.
 *
 * A page that no process had for a while costs more than to clear it: where the node is a virtual machine its host has taken
 * the memory back, and 2 MiB came at 8 ms, for which a starting server waits a dozen times. So some memory is kept: each
 * piece is a file in memory (memfd_create(2)) whose pages that servers touch when they start are there and are zero. A server
 * has one as long as it lives, and leaves it to the next.
 *
 *                    ┌────────────────────── cleaned ◄──────────────────┐
 *   made ──► filled ─┴─► spare ──► a server's ──► its end, nobody has it ┘ ──► somebody still has it: let go
 *
 * Filling and cleaning take a child of their own with the least priority, one at a time; new ones are filled in quiet times only.
 */
#ifndef COPPICE_SPARE_MEMORY_H
#define COPPICE_SPARE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How many spares are wanted from now on; those above it are let go. */
void spare_memory_keep(uint32_t count);

/* How many there are. */
uint32_t spare_memory_count(void);

/* Whether a program asks for memory, by a variable COPPICE_SHARED_MEMORY among those that it is to have. */
bool spare_memory_is_asked_for(char **variables);

/*
 * To be called by who becomes the server, before it is another user: opens the memory and says so in the variable, whose value
 * becomes the number of the descriptor. Without memory (-1), or when it cannot be opened, the variable is left out.
 */
void spare_memory_pass(char **variables, int memory);

/* A descriptor of memory for a server, which is given back at its end; -1 when none is kept or none can be made. */
int spare_memory_take(void);

/* The server that had it has ended: `cleanly` when it had started before. */
void spare_memory_give(int memory, bool cleanly);

/* Looks at what a server touches that began a while ago. */
void spare_memory_learn(int memory);

/* Whether a child that ended was one of this module's; it is dealt with. */
bool spare_memory_child(pid_t pid, int status);

/* Whether there are fewer than wanted, and it is known what to fill new ones with, or `servers_to_learn_from` tell. */
bool spare_memory_is_short(bool servers_to_learn_from);

/* Begins to clean one, or to fill a new one when it `is_quiet`, unless that is under way. */
void spare_memory_work(bool is_quiet);

#endif
