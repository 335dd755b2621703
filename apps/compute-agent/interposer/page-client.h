/*
 * page-client.h: asking the agent's page source for blocks, over one Unix stream connection per process. Little-endian.
 *
 *   request, 24 bytes    0        1..3  4..7         8..11        12..15   16..19      20..23
 *     hello              1        zero  nonce (8 bytes)           version  process id  zero
 *     fetch              2        zero  file number  first block  count    ahead       sequence
 *     prefetch           3        zero  file number  first block  count    zero        zero
 *     look up            4        zero  database     relation     fork     segment     sequence
 *     lay database       5        zero  database     zero         zero     zero        sequence
 *
 *   answer, 16 bytes     0                      1..3  4..7      8..11            12..15
 *     to a fetch         0 pages | 1 failure    zero  sequence  pages or bytes   zero
 *                        then the pages, 8192 bytes each, or the text that says why
 *     to 4 and 5         0 done  | 1 failure    zero  sequence  zero or bytes    blocks that are local and new
 *                        then nothing, or the text that says why
 *
 * A process says hello once and then has one request under way at a time. The answer to a fetch has at least one page and
 * at most `count`. `ahead` says how many blocks after those will probably be wanted next. Hello and prefetch have no
 * answer; who says a wrong hello is disconnected.
 */
#ifndef COPPICE_PAGE_CLIENT_H
#define COPPICE_PAGE_CLIENT_H

#include <stdint.h>

#include "relation-file.h"
#include "state.h"

/* Most blocks of one request, and most that it may announce to be wanted next. */
#define MAX_RUN 64
#define MAX_AHEAD 256

/* Asks for a run of blocks. Returns how many pages follow (to be taken by page_client_receive), or -1 after a report. */
int page_client_fetch(const struct tracked_file *file, uint32_t block, uint32_t count, uint32_t ahead);

/* Receives the next `count` pages of the answer. -1 after a report. */
int page_client_receive(const struct tracked_file *file, uint32_t block, uint32_t count, char *pages);

/* Lets the source fetch these blocks soon. Only advice: failing is not reported. */
void page_client_prefetch(const struct tracked_file *file, uint32_t block, uint32_t count);

/* Has the files of one relation, or of all of a database, made and listed. -1 after a report. */
int page_client_lookup(const struct relation_file *file);
int page_client_lay_database(uint32_t database);

/* Gives the connection up, for example in the middle of an answer. */
void page_client_disconnect(void);

#endif
