/*
 * claims.h: moving blocks into and out of `loading`.
 *
 * A process claims one contiguous range at a time and remembers it here: if it leaves the work by a jump out of a signal
 * handler (background workers may end that way), the range is given back when it next claims or when it exits.
 */
#ifndef COPPICE_CLAIMS_H
#define COPPICE_CLAIMS_H

#include <stdbool.h>

#include "state.h"

/*
 * Starts a range for blocks of this file. True when an abandoned one had to be given back first: an answer may then be
 * half read, and its connection must go.
 */
bool claims_begin(const struct tracked_file *file);

/* Whether this process left a range behind: an answer may then be half read. */
bool claims_abandoned(void);

/* absent → loading. False when the block is in another state or no longer tracked. */
bool claims_take(uint32_t block);

/* loading → `to` for these blocks, and wakes who waits for them. */
void claims_settle(uint32_t block, uint32_t count, enum block_state to);

/* Ends the range: what is still claimed in it becomes absent again. */
void claims_end(void);

#endif
