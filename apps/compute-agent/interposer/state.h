/*
 * state.h: which blocks of which files are here.
 *
 * The agent writes one state file per compute, outside the data directory, before it starts Postgres. The postmaster
 * maps it shared; its children inherit the mapping, so that looking at a block's state is a memory access everywhere.
 * All numbers are little-endian.
 *
 *           0 ┌ header, 4096 bytes ──────────────────────────────────────────────────────────────┐
 *             │  0 magic "COPSTAT1"   8 u32 version (3)     12 u32 number of files               │
 *             │ 16 u64 nonce          24 u64 bytes in this file                                  │
 *             │ 32 u64 cap, blocks    40 i64 added, blocks  48 u32 wake-ups   52 u32 waiters     │
 *             │ 56 u32 shrinks        60 u32 number of databases                                 │
 *             │ 64 page source's socket path, 128 bytes     192 data directory, 1024 bytes       │
 *             │ 1216 u64 blocks at start                                                         │
 *             │ 2048 databases, at most 256: u64, its number in the upper half and in the lower  │
 *             │      the relation from which on names that are not listed are local              │
 *        4096 ├ 16,384 chains of files by the hash of their name, u32 each: first number + 1 ────┤
 *       69632 ├ files, 64 bytes each, in the order in which they became known; room for 2^22 ────┤
 *             │  0 name, 40 bytes, zero-filled: "base/5/16384.1", relative to the data directory │
 *             │ 40 u32 blocks at start   44 u32 tracked blocks   48 u64 position of block states │
 *             │ 56 u32 life              60 u32 next of its chain, number + 1                    │
 *   268505088 ├ block states, one byte per block at start ───────────────────────────────────────┤
 *             └──────────────────────────────────────────────────────────────────────────────────┘
 *
 * The file is sparse: what is not used of it costs nothing. Only the agent adds files, each when it is first asked for
 * (see lookup.h), and never takes one away; an entry is whole before its chain names it. A listed file that is `gone` is
 * not what storage has under that name, if it has anything: it was made here, and is local by definition. So is every
 * block at or after a file's `tracked`, and every file that is no relation's and not listed.
 *
 * Of a relation's names the first segment of its main fork is listed last: once it is, what is not listed of the relation is
 * local. So is what is not listed of a database from the relation on that the header says. Of databases it has the newest
 * only: who does not find one asks the agent.
 *
 *                    a process asks the agent          it was installed
 *      absent ──────────────────────────► loading ──────────────────────► clean ◄──── warm
 *        ▲                                  │ │                             │ write   read first
 *        └──────────────────────────────────┘ └──────────────────────────► dirty
 *              failed, or not answered           written here as a whole
 *
 * A block that the agent laid out with the file is `warm` until somebody reads it: so the agent learns which were wanted.
 *
 * Only the process that moved a block to `loading` moves it on; others wait on `wake-ups`. No process waits for a block
 * at or below one that it holds in `loading`, so that there is no cycle of waiting.
 */
#ifndef COPPICE_STATE_H
#define COPPICE_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BLOCK_SIZE 8192
#define STATE_MAGIC "COPSTAT1"
#define STATE_VERSION 3
#define STATE_CHAINS 16384
#define STATE_MAX_FILES (1u << 22)
#define STATE_MAX_DATABASES 256

enum block_state { ABSENT = 0, LOADING = 1, WARM = 2, CLEAN = 3, DIRTY = 4 };

/* A name leaves in two steps around the unlink itself, so that who opens meanwhile knows which file it got. */
enum file_life { ALIVE = 0, GOING = 1, GONE = 2 };

struct state_header {
	char magic[8];
	uint32_t version;
	uint32_t files;
	uint64_t nonce;
	uint64_t file_bytes;
	_Atomic uint64_t cap;		/* set by the agent, at any time; UINT64_MAX: none */
	_Atomic int64_t added;		/* blocks that all relation files have now beyond those at the start */
	_Atomic uint32_t wakeups;	/* changes whenever a block leaves `loading` or a file is gone */
	_Atomic uint32_t waiters;
	_Atomic uint32_t shrinks;	/* changes whenever a relation file became smaller */
	_Atomic uint32_t databases;
	char socket_path[128];
	char data_directory[1024];
	_Atomic int64_t at_start;	/* blocks of all relation files then; set by the agent, perhaps late */
	char unused[824];
	_Atomic uint64_t local_from[STATE_MAX_DATABASES];
};

struct tracked_file {
	char name[40];
	uint32_t blocks_at_start;
	_Atomic uint32_t tracked;	/* only ever lowered: by truncation */
	uint64_t states_at;
	_Atomic uint32_t life;
	uint32_t next;
};

struct state_layout {
	struct state_header header;
	_Atomic uint32_t chains[STATE_CHAINS];
	struct tracked_file files[STATE_MAX_FILES];
};

_Static_assert(sizeof(struct tracked_file) == 64, "as drawn");
_Static_assert(offsetof(struct state_layout, files) == 69632 && sizeof(struct state_layout) == 268505088, "as drawn");
_Static_assert(offsetof(struct state_header, data_directory) == 192, "as drawn");
_Static_assert(offsetof(struct state_header, local_from) == 2048 && sizeof(struct state_header) == 4096, "as drawn");

/* The mapped state; NULL where the library is preloaded without one and so does nothing. */
extern struct state_header *state;

/* Maps the state once per process tree. Ends the process when a state is named and cannot be mapped. */
void state_initialize(void);

/* `path` relative to the data directory when it is inside that; else NULL. */
const char *state_relative(const char *path);

/* The same when it is inside one of the tracked folders; else NULL. */
const char *state_name(const char *path);

/* The listed file of that name, whatever its life; NULL when nobody has asked for it yet. */
struct tracked_file *state_find(const char *name);

/* Whether the agent has said that what is not listed of the database is local from this relation on. */
bool state_is_local(uint32_t database, uint32_t relation);

/* Its number in the list, by which the page source knows it. */
uint32_t state_file_number(const struct tracked_file *file);

/* The state of one block below `blocks_at_start`. */
_Atomic uint8_t *state_of_block(const struct tracked_file *file, uint32_t block);

/* Tells everyone who waits that something changed. */
void state_wake(void);

/* Waits until the byte is no longer `loading`. -1 with errno EIO after a minute. */
int state_wait_block(const struct tracked_file *file, uint32_t block);

/* Waits until the file is no longer `going`. -1 with errno EIO after a minute. */
int state_wait_gone(const struct tracked_file *file);

#endif
