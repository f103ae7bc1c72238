#include "tensor/pages.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "os/memory.h"

enum state { UNTOUCHED, IN_USE, KEPT };

/* At least this much is kept, and a quarter of a larger arena. */
#define KEEP_BYTES (UINT64_C(64) * 1024 * 1024)

void pages_budget_init(struct pages_budget *budget, uint64_t capacity)
{
	budget->keep_limit = capacity / 4 > KEEP_BYTES ? capacity / 4 : KEEP_BYTES;
	atomic_init(&budget->committed, 0);
	atomic_init(&budget->kept, 0);
}

simpler_status pages_init(struct pages *pages, struct pages_budget *budget, int fd, void *base,
                          uint64_t capacity, uint64_t page_bytes)
{
	*pages = (struct pages){
		.budget = budget, .fd = fd, .base = base, .page_bytes = page_bytes
	};
	pages->state = calloc((size_t)(capacity / page_bytes), 1);
	if (!pages->state)
		return error_raise(SIMPLER_ENOMEM, "out of memory for the tensor arena's pages");
	return SIMPLER_OK;
}

void pages_release(struct pages *pages)
{
	free(pages->state);
}

/* How many pages from `first` on, before `end`, are in the same state as it. */
static uint64_t run_of(const struct pages *pages, uint64_t first, uint64_t end)
{
	uint64_t page = first + 1;

	while (page < end && pages->state[page] == pages->state[first])
		page++;
	return page - first;
}

static void set_run(struct pages *pages, uint64_t first, uint64_t count, enum state state)
{
	memset(pages->state + first, (int)state, (size_t)count);
}

/* Zero what the pages of a run and a range have in common. */
static void clear_run(const struct pages *pages, uint64_t first, uint64_t count, uint64_t offset,
                      uint64_t bytes)
{
	uint64_t start = first * pages->page_bytes, end = start + count * pages->page_bytes;

	if (start < offset)
		start = offset;
	if (end > offset + bytes)
		end = offset + bytes;
	memset(pages->base + start, 0, (size_t)(end - start));
}

static simpler_status commit_run(struct pages *pages, uint64_t first, uint64_t count)
{
	uint64_t bytes = count * pages->page_bytes;
	simpler_status status = memory_commit(pages->fd, first * pages->page_bytes, bytes);

	if (status != SIMPLER_OK)
		return status;
	atomic_fetch_add(&pages->budget->committed, bytes);
	set_run(pages, first, count, IN_USE);
	return SIMPLER_OK;
}

simpler_status pages_take(struct pages *pages, uint64_t offset, uint64_t bytes, bool clear)
{
	uint64_t page = offset / pages->page_bytes;
	uint64_t end = (offset + bytes + pages->page_bytes - 1) / pages->page_bytes;

	while (page < end) {
		uint64_t count = run_of(pages, page, end);
		enum state state = pages->state[page];
		simpler_status status = SIMPLER_OK;

		if (state == UNTOUCHED)
			status = commit_run(pages, page, count);
		else if (clear)
			clear_run(pages, page, count, offset, bytes);
		if (status != SIMPLER_OK)
			return status;
		if (state == KEPT) {
			atomic_fetch_sub(&pages->budget->kept, count * pages->page_bytes);
			set_run(pages, page, count, IN_USE);
		}
		page += count;
	}
	return SIMPLER_OK;
}

/* How many of `count` pages may be kept. */
static uint64_t keep_some(struct pages *pages, uint64_t count)
{
	uint64_t kept = atomic_load(&pages->budget->kept), limit = pages->budget->keep_limit, room;

	do {
		room = kept < limit ? (limit - kept) / pages->page_bytes : 0;
		if (room < count)
			count = room;
	} while (!atomic_compare_exchange_weak(&pages->budget->kept, &kept,
	                                       kept + count * pages->page_bytes));
	return count;
}

static void leave_run(struct pages *pages, uint64_t first, uint64_t count)
{
	uint64_t keep = keep_some(pages, count);
	uint64_t excess = (count - keep) * pages->page_bytes;

	set_run(pages, first, keep, KEPT);
	if (excess == 0)
		return;
	if (memory_punch(pages->fd, (first + keep) * pages->page_bytes, excess) != SIMPLER_OK) {
		/* They still have their memory, so the next user need not ask for it. */
		set_run(pages, first + keep, count - keep, KEPT);
		atomic_fetch_add(&pages->budget->kept, excess);
		return;
	}
	set_run(pages, first + keep, count - keep, UNTOUCHED);
	atomic_fetch_sub(&pages->budget->committed, excess);
}

void pages_leave(struct pages *pages, uint64_t offset, uint64_t bytes)
{
	uint64_t page = (offset + pages->page_bytes - 1) / pages->page_bytes;
	uint64_t end = (offset + bytes) / pages->page_bytes;

	while (page < end) {
		uint64_t count = run_of(pages, page, end);

		if (pages->state[page] == IN_USE)
			leave_run(pages, page, count);
		page += count;
	}
}

void pages_leave_shared(struct pages *pages, uint64_t offset, uint64_t bytes, uint64_t gap,
                        uint64_t gap_bytes)
{
	uint64_t start = offset / pages->page_bytes * pages->page_bytes;
	uint64_t end =
		(offset + bytes + pages->page_bytes - 1) / pages->page_bytes * pages->page_bytes;

	if (start < gap)
		start += pages->page_bytes;
	if (end > gap + gap_bytes)
		end -= pages->page_bytes;
	if (start < end)
		pages_leave(pages, start, end - start);
}

static void trim_run(struct pages *pages, uint64_t first, uint64_t count)
{
	uint64_t bytes = count * pages->page_bytes;

	if (memory_punch(pages->fd, first * pages->page_bytes, bytes) != SIMPLER_OK)
		return;
	set_run(pages, first, count, UNTOUCHED);
	atomic_fetch_sub(&pages->budget->kept, bytes);
	atomic_fetch_sub(&pages->budget->committed, bytes);
}

void pages_trim(struct pages *pages, uint64_t gap, uint64_t gap_bytes)
{
	uint64_t page = (gap + pages->page_bytes - 1) / pages->page_bytes;
	uint64_t end = (gap + gap_bytes) / pages->page_bytes;

	while (page < end) {
		uint64_t count = run_of(pages, page, end);

		if (pages->state[page] == KEPT)
			trim_run(pages, page, count);
		page += count;
	}
}
