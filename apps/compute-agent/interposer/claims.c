/* claims.c: see claims.h. */
#include "raw.h"
#include "claims.h"

static struct {
	const struct tracked_file *file;
	uint32_t first;
	uint32_t end;
	pid_t holder;
} held;

static bool move(uint32_t block, enum block_state from, enum block_state to)
{
	uint8_t expected = (uint8_t) from;
	return atomic_compare_exchange_strong(state_of_block(held.file, block), &expected, (uint8_t) to);
}

bool claims_abandoned(void)
{
	return held.file != NULL && held.holder == getpid();
}

bool claims_begin(const struct tracked_file *file)
{
	bool abandoned = claims_abandoned();
	if (abandoned)
		claims_end();
	held.file = file;
	held.first = UINT32_MAX;
	held.end = 0;
	held.holder = getpid();
	return abandoned;
}

bool claims_take(uint32_t block)
{
	/* Remembered before it is taken: giving back a block that is not ours is impossible, as it is not `loading` here. */
	uint32_t first = held.first;
	uint32_t end = held.end;
	if (!move(block, ABSENT, LOADING))
		return false;
	held.first = block < first ? block : first;
	held.end = block >= end ? block + 1 : end;
	/* A truncation that lowered the limit before this claim does not wait for it. */
	if (block < atomic_load(&held.file->tracked))
		return true;
	claims_settle(block, 1, ABSENT);
	return false;
}

void claims_settle(uint32_t block, uint32_t count, enum block_state to)
{
	if (count == 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		move(block + i, LOADING, to);
	state_wake();
}

void claims_end(void)
{
	if (held.first < held.end)
		claims_settle(held.first, held.end - held.first, ABSENT);
	held.file = NULL;
}

__attribute__((destructor)) static void give_back_at_exit(void)
{
	if (held.file && held.holder == getpid())
		claims_end();
}
