#include "exec/staging_cache.h"

void staging_cache_init(struct staging_cache *cache)
{
	cache->count = 0;
	cache->bytes = 0;
	cache->freeing = 0;
	cache->freed = 0;
	(void)pthread_mutex_init(&cache->lock, NULL);
}

void staging_cache_release(struct staging_cache *cache)
{
	(void)pthread_mutex_destroy(&cache->lock);
}

/* Under the lock. */
static void remove_piece(struct staging_cache *cache, uint32_t index, struct transport_storage *out)
{
	struct staging_piece *piece = &cache->pieces[index];
	struct staging_piece *last = &cache->pieces[cache->count - 1];

	transport_storage_copy(out, &piece->place);
	cache->bytes -= out->handle.nbytes;
	if (piece != last) {
		transport_storage_copy(&piece->place, &last->place);
		piece->life = last->life;
		piece->old = last->old;
	}
	cache->count--;
}

bool staging_cache_take(struct staging_cache *cache, uint64_t life, uint64_t nbytes,
                        struct transport_storage *out)
{
	uint32_t i = 0;
	bool found;

	pthread_mutex_lock(&cache->lock);
	while (i < cache->count &&
	       (cache->pieces[i].life != life || cache->pieces[i].place.handle.nbytes != nbytes))
		i++;
	found = i < cache->count;
	if (found)
		remove_piece(cache, i, out);
	pthread_mutex_unlock(&cache->lock);
	return found;
}

bool staging_cache_put(struct staging_cache *cache, uint64_t life,
                       const struct transport_storage *place)
{
	uint64_t nbytes = place->handle.nbytes;
	struct staging_piece *piece;
	bool fits;

	pthread_mutex_lock(&cache->lock);
	fits = nbytes > 0 && cache->count < STAGING_PIECES && nbytes <= STAGING_BYTES &&
	       cache->bytes <= STAGING_BYTES - nbytes;
	if (fits) {
		piece = &cache->pieces[cache->count++];
		transport_storage_copy(&piece->place, place);
		piece->life = life;
		piece->old = false;
		cache->bytes += nbytes;
	}
	pthread_mutex_unlock(&cache->lock);
	return fits;
}

static bool pop(struct staging_cache *cache, bool old_only, struct transport_storage *out)
{
	uint32_t i = 0;
	bool found;

	pthread_mutex_lock(&cache->lock);
	while (i < cache->count && old_only && !cache->pieces[i].old)
		i++;
	found = i < cache->count;
	if (found) {
		remove_piece(cache, i, out);
		cache->freeing++;
	}
	pthread_mutex_unlock(&cache->lock);
	return found;
}

bool staging_cache_pop(struct staging_cache *cache, struct transport_storage *out)
{
	return pop(cache, false, out);
}

bool staging_cache_pop_old(struct staging_cache *cache, struct transport_storage *out)
{
	return pop(cache, true, out);
}

void staging_cache_frees(struct staging_cache *cache)
{
	pthread_mutex_lock(&cache->lock);
	cache->freeing++;
	pthread_mutex_unlock(&cache->lock);
}

void staging_cache_freed(struct staging_cache *cache)
{
	pthread_mutex_lock(&cache->lock);
	cache->freeing--;
	cache->freed++;
	pthread_mutex_unlock(&cache->lock);
}

void staging_cache_age(struct staging_cache *cache)
{
	pthread_mutex_lock(&cache->lock);
	for (uint32_t i = 0; i < cache->count; i++)
		cache->pieces[i].old = true;
	pthread_mutex_unlock(&cache->lock);
}

struct staging_mark staging_cache_mark(struct staging_cache *cache)
{
	struct staging_mark mark;

	pthread_mutex_lock(&cache->lock);
	mark.freed = cache->freed;
	pthread_mutex_unlock(&cache->lock);
	return mark;
}

bool staging_cache_has_changed(struct staging_cache *cache, struct staging_mark since)
{
	bool changed;

	pthread_mutex_lock(&cache->lock);
	changed = cache->freeing > 0 || cache->freed != since.freed;
	pthread_mutex_unlock(&cache->lock);
	return changed;
}
