#include "tensor/store.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "os/memory.h"
#include "tensor/arena.h"
#include "tensor/pages.h"

struct store_segment {
	struct segment_view view; /* fixed */
	struct arena *arena;
	struct pages pages;
	bool begun, closed, shared;
	struct store_segment *next;
};

struct store {
	uint64_t capacity, page_bytes;
	struct pages_budget budget;
	struct store_segment main;
	/* Guards all below, the arenas, `closed`, and the pages of small blocks and of gaps. */
	pthread_mutex_t lock;
	struct store_segment *others;
	uint32_t count; /* of `others` */
	uint64_t used;
};

/* --- segments --- */

static simpler_status make_books(struct store *store, struct store_segment *segment)
{
	const struct segment_view *view = &segment->view;

	segment->arena = arena_create(view->bytes, store->page_bytes);
	if (!segment->arena)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a tensor arena");
	return pages_init(&segment->pages, &store->budget, view->memfd, view->base, view->bytes,
	                  store->page_bytes);
}

static void release_books(struct store_segment *segment)
{
	arena_destroy(segment->arena);
	pages_release(&segment->pages);
}

simpler_status store_create(const struct segment_view *main, struct store **out)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a tensor pool");
	store->capacity = main->bytes;
	store->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	store->main.view = *main;
	pages_budget_init(&store->budget, main->bytes);
	(void)pthread_mutex_init(&store->lock, NULL);
	if (make_books(store, &store->main) != SIMPLER_OK) {
		store_destroy(store);
		return simpler_last_status();
	}
	*out = store;
	return SIMPLER_OK;
}

static void release_segment(struct store_segment *segment)
{
	release_books(segment);
	memory_unmap(segment->view.base, segment->view.bytes);
	(void)close(segment->view.memfd);
	free(segment);
}

void store_destroy(struct store *store)
{
	struct store_segment *next;

	if (!store)
		return;
	for (struct store_segment *each = store->others; each; each = next) {
		next = each->next;
		release_segment(each);
	}
	release_books(&store->main);
	(void)pthread_mutex_destroy(&store->lock);
	free(store);
}

/* Reserved, with no page committed. */
static simpler_status map_segment(struct store *store, struct store_segment *segment)
{
	struct segment_view *view = &segment->view;
	void *base;
	simpler_status status = memory_create("simpler-session", view->bytes, &view->memfd);

	if (status != SIMPLER_OK)
		return status;
	status = memory_map(view->memfd, view->bytes, &base);
	if (status != SIMPLER_OK) {
		(void)close(view->memfd);
		return status;
	}
	view->base = base;
	status = make_books(store, segment);
	if (status == SIMPLER_OK)
		return SIMPLER_OK;
	release_books(segment);
	memory_unmap(base, view->bytes);
	(void)close(view->memfd);
	return status;
}

/* Under the lock. NULL when there is none that is open. */
static struct store_segment *segment_of(struct store *store, uint64_t owner)
{
	struct store_segment *segment = store->others;

	while (segment && (segment->view.owner != owner || segment->closed))
		segment = segment->next;
	return segment;
}

/* Under the lock. */
static simpler_status add_segment(struct store *store, uint64_t owner, uint32_t id,
                                  struct segment_view *out)
{
	struct store_segment *segment;
	simpler_status status;

	if (store->count >= STORE_MAX_SEGMENTS)
		return error_raise(
			SIMPLER_ENOSPACE,
			"%u sessions have memory of their own at this node, which is the "
			"limit; move bytes through gRPC",
			STORE_MAX_SEGMENTS);
	segment = calloc(1, sizeof(*segment));
	if (!segment)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a memory segment");
	segment->view = (struct segment_view){ .id = id, .owner = owner, .bytes = store->capacity };
	status = map_segment(store, segment);
	if (status != SIMPLER_OK) {
		free(segment);
		return status;
	}
	segment->next = store->others;
	store->others = segment;
	store->count++;
	*out = segment->view;
	return SIMPLER_OK;
}

simpler_status store_open(struct store *store, uint64_t owner, uint32_t id,
                          struct segment_view *out)
{
	struct store_segment *there;
	simpler_status status;

	assert(owner != 0);
	pthread_mutex_lock(&store->lock);
	there = segment_of(store, owner);
	if (there) {
		*out = there->view;
		status = SIMPLER_EEXIST;
	} else {
		status = add_segment(store, owner, id, out);
	}
	pthread_mutex_unlock(&store->lock);
	return status;
}

static void trim_gap(void *context, const struct arena_block *gap)
{
	struct store_segment *segment = context;

	pages_trim(&segment->pages, gap->offset, gap->bytes);
}

/* Under the lock. */
static void trim(struct store_segment *segment)
{
	arena_each_gap(segment->arena, trim_gap, segment);
}

void store_begin(struct store *store, uint64_t owner)
{
	struct store_segment *segment;

	pthread_mutex_lock(&store->lock);
	segment = segment_of(store, owner);
	if (segment)
		segment->begun = true;
	pthread_mutex_unlock(&store->lock);
}

void store_share(struct store *store, uint64_t owner)
{
	struct store_segment *segment;

	pthread_mutex_lock(&store->lock);
	segment = segment_of(store, owner);
	if (segment)
		segment->shared = true;
	pthread_mutex_unlock(&store->lock);
}

void store_close(struct store *store, uint64_t owner)
{
	struct store_segment *segment;

	pthread_mutex_lock(&store->lock);
	segment = segment_of(store, owner);
	if (segment) {
		segment->closed = true;
		trim(segment);
	}
	pthread_mutex_unlock(&store->lock);
}

uint32_t store_empty(struct store *store)
{
	uint32_t id = 0;

	pthread_mutex_lock(&store->lock);
	for (struct store_segment *each = store->others; each && id == 0; each = each->next) {
		if (each->closed && arena_used(each->arena) == 0)
			id = each->view.id;
	}
	pthread_mutex_unlock(&store->lock);
	return id;
}

void store_drop(struct store *store, uint32_t id)
{
	struct store_segment **link = &store->others, *gone;

	pthread_mutex_lock(&store->lock);
	while (*link && (*link)->view.id != id)
		link = &(*link)->next;
	gone = *link;
	if (gone) {
		assert(gone->closed && arena_used(gone->arena) == 0);
		*link = gone->next;
		store->count--;
	}
	pthread_mutex_unlock(&store->lock);
	if (gone)
		release_segment(gone);
}

/* --- pieces --- */

/* Under the lock: the largest piece that could be had now. */
static uint64_t largest_free(const struct store *store, const struct store_segment *segment)
{
	uint64_t gap = arena_largest_free(segment->arena), left = store->capacity - store->used;

	return gap < left ? gap : left;
}

static simpler_status no_room(const struct store *store, const struct store_segment *segment,
                              uint64_t nbytes)
{
	return error_raise(SIMPLER_ENOSPACE,
	                   "asked for %" PRIu64 " bytes of the tensor pool: %" PRIu64
	                   " of its %" PRIu64 " bytes are used, the largest gap is %" PRIu64
	                   "; free tensors or give the node a larger pool",
	                   nbytes, store->used, store->capacity, largest_free(store, segment));
}

/* Under the lock. Small blocks share pages, so theirs are left under the lock, too; a large one's
 * have been left before. */
static void give_block(struct store *store, struct store_segment *segment,
                       struct arena_block *block)
{
	uint64_t offset = block->offset, bytes = block->bytes;
	bool large = arena_is_large(block);
	const struct arena_block *gap = arena_free(segment->arena, block);

	store->used -= bytes;
	if (!large)
		pages_leave_shared(&segment->pages, offset, bytes, gap->offset, gap->bytes);
	if (segment->closed)
		trim_gap(segment, gap);
}

/* Under the lock: whether memory for a block can be committed within the limit. One arena alone has
 * no more pages than the limit. */
static bool make_room(struct store *store, uint64_t bytes)
{
	if (!store->others || atomic_load(&store->budget.committed) + bytes <= store->capacity)
		return true;
	trim(&store->main);
	for (struct store_segment *each = store->others; each; each = each->next)
		trim(each);
	return store->used <= store->capacity;
}

/* Under the lock. */
static simpler_status take_block(struct store *store, struct store_segment *segment,
                                 uint64_t nbytes, struct arena_block **out)
{
	simpler_status status = arena_alloc(segment->arena, nbytes, out);

	if (status == SIMPLER_ENOSPACE)
		return no_room(store, segment, nbytes);
	if (status != SIMPLER_OK)
		return status;
	store->used += (*out)->bytes;
	if (!make_room(store, (*out)->bytes)) {
		store->used -= (*out)->bytes;
		arena_free(segment->arena, *out);
		return no_room(store, segment, nbytes);
	}
	if (arena_is_large(*out))
		return SIMPLER_OK;
	status = pages_take(&segment->pages, (*out)->offset, (*out)->bytes, false);
	if (status != SIMPLER_OK)
		give_block(store, segment, *out);
	return status;
}

/* Without the lock: the pages of a large block are its owner's alone. */
static simpler_status clear_block(const struct store_piece *piece)
{
	struct store_segment *segment = piece->segment;
	const struct arena_block *block = piece->block;

	if (arena_is_large(block))
		return pages_take(&segment->pages, block->offset, block->bytes, true);
	memset(segment->view.base + block->offset, 0, (size_t)block->bytes);
	return SIMPLER_OK;
}

simpler_status store_alloc(struct store *store, uint64_t owner, uint64_t nbytes,
                           struct store_piece *out)
{
	struct store_piece piece;
	simpler_status status;

	pthread_mutex_lock(&store->lock);
	piece.segment = owner == 0 ? NULL : segment_of(store, owner);
	if (!piece.segment || !piece.segment->begun)
		piece.segment = &store->main;
	status = take_block(store, piece.segment, nbytes, &piece.block);
	pthread_mutex_unlock(&store->lock);
	if (status != SIMPLER_OK)
		return status;
	status = clear_block(&piece);
	if (status == SIMPLER_OK)
		*out = piece;
	else
		store_free(store, piece);
	return status;
}

void store_free(struct store *store, struct store_piece piece)
{
	if (!piece.block)
		return;
	if (arena_is_large(piece.block))
		pages_leave(&piece.segment->pages, piece.block->offset, piece.block->bytes);
	pthread_mutex_lock(&store->lock);
	give_block(store, piece.segment, piece.block);
	pthread_mutex_unlock(&store->lock);
}

void store_locate(const struct store_piece *piece, struct segment_view *segment, uint64_t *offset)
{
	*segment = piece->segment->view;
	*offset = piece->block->offset;
}

/* Under the lock. */
static uint32_t count_shared(const struct store *store)
{
	uint32_t count = 0;

	for (const struct store_segment *each = store->others; each; each = each->next)
		count += each->shared && !each->closed;
	return count;
}

void store_stats(struct store *store, struct store_stats *out)
{
	pthread_mutex_lock(&store->lock);
	*out = (struct store_stats){ .capacity = store->capacity,
		                     .used = store->used,
		                     .largest_free = largest_free(store, &store->main),
		                     .committed = atomic_load(&store->budget.committed),
		                     .segments = store->count,
		                     .shared = count_shared(store) };
	pthread_mutex_unlock(&store->lock);
}
