/*
 * spare-memory.h: shared memory for servers, there before they are.
 *
 * A page that no process had for a while costs more than to clear it: where the node is a virtual machine its host has taken
 * the memory back, and 2 MiB came at 8 ms, for which a starting server waits a dozen times. So some memory is kept: each
 * piece is a file in memory (memfd_create(2)) whose pages that servers touch when they start are there. A server gets one as its
 * own, and nobody has it afterwards: new ones are filled in quiet times, at the least priority.
 */
#ifndef COPPICE_SPARE_MEMORY_H
#define COPPICE_SPARE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* From now on keeps so many pieces, of so many MiB together, at most; those above it are let go. */
void spare_memory_keep(uint32_t pieces, uint32_t mebibytes);

struct spare_memory {
	uint32_t pieces;
	uint32_t mebibytes;
};
/* What is kept. */
struct spare_memory spare_memory_kept(void);

/* Whether a program asks for memory, by a variable COPPICE_SHARED_MEMORY among those that it is to have. */
bool spare_memory_is_asked_for(char **variables);

struct server_memory {
	/* A descriptor, which the caller closes; -1: none. */
	int memory;
	/* It is empty, to see what the server touches when it starts: the caller keeps it until that can be learned. */
	bool is_lesson;
};
struct server_memory spare_memory_take(void);

/*
 * To be called by who becomes the server: hands the memory on, and names the descriptor in the variable. Without memory (-1) the
 * variable is left out.
 */
void spare_memory_pass(char **variables, int memory);

/* What the server touched that began with this empty piece is what the next pieces are filled with. */
void spare_memory_learn(int memory);

/* Whether a child that ended was the one that fills; it is dealt with. */
bool spare_memory_child(pid_t pid, int status);

/* Whether there is less than wanted, it is known what to fill pieces with, and none is being filled. */
bool spare_memory_is_short(void);

/* Begins to fill a piece if it is short. */
void spare_memory_fill(void);

#endif
