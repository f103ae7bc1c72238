#include "dag/ranges.h"

#include <assert.h>
#include <stdlib.h>

#include "dag/extent.h"
#include "dag/interval.h"

enum role { READER, WRITER, ROLES };

/* There is one of each of these for a use of a task, so a word more or less in them counts. */
struct range {
	struct interval interval; /* first, so that one is the other; its tag is the pitch */
	struct ranges_use *users[ROLES];
};

struct ranges_use {
	struct ranges_use *next; /* in the task's list */
	struct dag_task *task;
	struct range *range; /* NULL once a later writer took all of it over; so is what follows */
	struct ranges_store *store;
	/* In the range's list for its role: what points to this one, and the one behind it. */
	struct ranges_use **link, *after;
};

/* Lives as long as it has ranges. */
struct ranges_store {
	struct ranges_store *next; /* in its chain */
	uint64_t name;
	struct interval *root;
};

#define FIRST_BUCKETS 64u

bool ranges_init(struct ranges *ranges)
{
	*ranges = (struct ranges){ .bucket_count = FIRST_BUCKETS, .random = 2463534242u };
	slab_init(&ranges->stores, sizeof(struct ranges_store));
	slab_init(&ranges->ranges, sizeof(struct range));
	slab_init(&ranges->uses, sizeof(struct ranges_use));
	ranges->buckets = calloc(FIRST_BUCKETS, sizeof(struct ranges_store *));
	return ranges->buckets != NULL;
}

void ranges_release(struct ranges *ranges)
{
	free(ranges->buckets);
	slab_release(&ranges->stores);
	slab_release(&ranges->ranges);
	slab_release(&ranges->uses);
}

/* Stores are often numbered in steps of a power of two; multiplying spreads them. */
static struct ranges_store **bucket_of(const struct ranges *ranges, uint64_t name)
{
	uint64_t hash = name * UINT64_C(0x9e3779b97f4a7c15);

	return &ranges->buckets[(hash >> 32) & (ranges->bucket_count - 1)];
}

static struct ranges_store *find_store(const struct ranges *ranges, uint64_t name)
{
	struct ranges_store *store = *bucket_of(ranges, name);

	while (store && store->name != name)
		store = store->next;
	return store;
}

/* Keeps chains short. Without memory they are just longer, so a failure is no error. */
static void grow_buckets(struct ranges *ranges)
{
	size_t old_count = ranges->bucket_count;
	struct ranges_store **old = ranges->buckets;
	struct ranges_store **buckets = calloc(old_count * 2, sizeof(struct ranges_store *));

	if (!buckets)
		return;
	ranges->buckets = buckets;
	ranges->bucket_count = old_count * 2;
	for (size_t i = 0; i < old_count; i++) {
		while (old[i]) {
			struct ranges_store *store = old[i];
			struct ranges_store **bucket = bucket_of(ranges, store->name);

			old[i] = store->next;
			store->next = *bucket;
			*bucket = store;
		}
	}
	free(old);
}

static struct ranges_store *add_store(struct ranges *ranges, uint64_t name)
{
	struct ranges_store *store = slab_take(&ranges->stores);
	struct ranges_store **bucket;

	if (ranges->store_count >= ranges->bucket_count)
		grow_buckets(ranges);
	bucket = bucket_of(ranges, name);
	*store = (struct ranges_store){ .next = *bucket, .name = name };
	*bucket = store;
	ranges->store_count++;
	return store;
}

static void drop_store(struct ranges *ranges, struct ranges_store *store)
{
	struct ranges_store **link = bucket_of(ranges, store->name);

	while (*link != store)
		link = &(*link)->next;
	*link = store->next;
	slab_give(&ranges->stores, store);
	ranges->store_count--;
}

static void visit_users(const struct ranges_use *user, ranges_visit visit, void *context)
{
	for (; user; user = user->after)
		visit(context, user->task);
}

static struct extent bytes_of(const struct range *range)
{
	const struct interval *interval = &range->interval;

	return (struct extent){ interval->start, interval->end, interval->tag };
}

static void visit_range(const struct range *range, enum dag_access access, ranges_visit visit,
                        void *context)
{
	visit_users(range->users[WRITER], visit, context);
	if (access != DAG_READ)
		visit_users(range->users[READER], visit, context);
}

void ranges_conflicts(const struct ranges *ranges, const struct dag_use *use, ranges_visit visit,
                      void *context)
{
	const struct ranges_store *store = NULL;
	struct extent wanted, there;
	struct interval *at;

	if (use->access != DAG_VOUCHED && use->nbytes > 0)
		store = find_store(ranges, use->store);
	if (!store)
		return;
	wanted = extent_of(use);
	for (at = interval_first(store->root, wanted.start, wanted.end); at;
	     at = interval_next(at, wanted.start, wanted.end)) {
		const struct range *range = (const struct range *)at;

		there = bytes_of(range);
		if (extent_overlaps(&there, &wanted))
			visit_range(range, use->access, visit, context);
	}
}

bool ranges_reserve(struct ranges *ranges, size_t count)
{
	return slab_reserve(&ranges->stores, ranges->stores.taken + count) &&
	       slab_reserve(&ranges->ranges, ranges->ranges.taken + count) &&
	       slab_reserve(&ranges->uses, ranges->uses.taken + count);
}

static uint32_t next_random(struct ranges *ranges)
{
	uint32_t x = ranges->random; /* xorshift */

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return ranges->random = x;
}

static struct range *add_range(struct ranges *ranges, struct ranges_store *store,
                               const struct extent *extent)
{
	struct range *range = slab_take(&ranges->ranges);

	*range = (struct range){ .interval = { .start = extent->start,
		                               .end = extent->end,
		                               .tag = extent->pitch,
		                               .priority = next_random(ranges) } };
	interval_insert(&store->root, &range->interval);
	return range;
}

static void drop_range(struct ranges *ranges, struct ranges_store *store, struct range *range)
{
	interval_remove(&store->root, &range->interval);
	slab_give(&ranges->ranges, range);
}

/* The users of a range lose it; their nodes stay with their tasks. */
static void disown_users(struct range *range)
{
	for (int role = 0; role < ROLES; role++) {
		for (struct ranges_use *user = range->users[role]; user; user = user->after)
			user->range = NULL;
		range->users[role] = NULL;
	}
}

/* Take from a contiguous range what lies within `taken`, if that leaves one piece. */
static void cut_back(struct ranges_store *store, struct range *range, const struct extent *taken)
{
	struct interval *interval = &range->interval;
	bool before = interval->start<taken->start, behind = interval->end> taken->end;

	if (before == behind)
		return;
	interval_remove(&store->root, interval);
	if (before)
		interval->end = taken->start;
	else
		interval->start = taken->end;
	interval_insert(&store->root, interval);
}

/* A writer takes its bytes over from all others; see the head of ranges.h. Returns the range that
 * is exactly these, emptied, if there is one. */
static struct range *take_over(struct ranges *ranges, struct ranges_store *store,
                               const struct extent *taken)
{
	struct interval *at = interval_first(store->root, taken->start, taken->end);
	struct range *exact = NULL;

	while (at) {
		struct range *range = (struct range *)at;
		struct extent bytes = bytes_of(range);

		at = interval_next(at, taken->start, taken->end);
		if (extent_covers(taken, &bytes)) {
			disown_users(range);
			if (!exact && extent_equals(&bytes, taken))
				exact = range;
			else
				drop_range(ranges, store, range);
		} else if (bytes.pitch == 0 && taken->pitch == 0) {
			cut_back(store, range, taken);
		}
	}
	return exact;
}

/* The newest first. */
static void add_user(struct range *range, enum role role, struct ranges_use *user)
{
	struct ranges_use **first = &range->users[role];

	user->range = range;
	user->link = first;
	user->after = *first;
	if (*first)
		(*first)->link = &user->after;
	*first = user;
}

/* A range lives as long as it has users, and a store as long as it has ranges. */
static void remove_user(struct ranges *ranges, struct ranges_use *user)
{
	struct range *range = user->range;

	*user->link = user->after;
	if (user->after)
		user->after->link = user->link;
	if (range->users[READER] || range->users[WRITER])
		return;
	drop_range(ranges, user->store, range);
	if (!user->store->root)
		drop_store(ranges, user->store);
}

static struct ranges_use *add_use(struct ranges *ranges, struct ranges_store *store,
                                  struct dag_task *task, struct ranges_use **list)
{
	struct ranges_use *user = slab_take(&ranges->uses);

	*user = (struct ranges_use){ .next = *list, .task = task, .store = store };
	*list = user;
	return user;
}

void ranges_record(struct ranges *ranges, const struct dag_use *use, struct dag_task *task,
                   struct ranges_use **list)
{
	struct ranges_store *store;
	struct extent bytes;
	struct range *range;

	if (use->nbytes == 0)
		return;
	store = find_store(ranges, use->store);
	if (!store)
		store = add_store(ranges, use->store);
	bytes = extent_of(use);
	if (use->access == DAG_WRITE)
		range = take_over(ranges, store, &bytes);
	else
		range = (struct range *)interval_find(store->root, bytes.start, bytes.end,
		                                      bytes.pitch);
	if (!range)
		range = add_range(ranges, store, &bytes);
	add_user(range, use->access == DAG_READ ? READER : WRITER,
	         add_use(ranges, store, task, list));
}

void ranges_forget(struct ranges *ranges, struct ranges_use **list)
{
	while (*list) {
		struct ranges_use *user = *list;

		*list = user->next;
		if (user->range)
			remove_user(ranges, user);
		slab_give(&ranges->uses, user);
	}
}
