/* shared-memory.h: shared memory that the launcher has for the server. */
#ifndef COPPICE_SHARED_MEMORY_H
#define COPPICE_SHARED_MEMORY_H

/* Takes the descriptor that COPPICE_SHARED_MEMORY names, and the variable: programs that the server starts get neither. */
void shared_memory_initialize(void);

#endif
