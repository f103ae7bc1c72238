#include "worker/callables.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/condition.h"
#include "ipc/program_function.h"
#include "simpler/version.h"

#define BUCKETS 1024u
#define RETIRED (UINT32_C(1) << 31)

struct entry {
	struct exec_callable callable; /* first: a user hands it back */
	const struct module *module;
	const void *function;
	uint64_t hash;
	/* How many, and RETIRED beside them from the last hold's end on: who brings it from one
	 * use of a retired entry to none is the one to call gone(). */
	_Atomic uint32_t uses;
	/* Under the table's lock: */
	uint32_t holds;
	uint32_t granted;   /* of those, the program's own: the others are of runs */
	struct entry *next; /* of its bucket */
	struct entry *idle_next, *idle_prev; /* while IDLE */
	uint8_t state[];
};

struct callables {
	void (*gone)(void *context, struct exec_callable *callable);
	void *context;

	pthread_rwlock_t lock;                /* guards: */
	struct entry *entries[CALLABLES_MAX]; /* by place, which is the key's low half less 1 */
	uint32_t generations[CALLABLES_MAX];  /* the key's high half, of the present entry or the
	                                         next */
	uint32_t free_places[CALLABLES_MAX], free_count;
	uint32_t touched;               /* places that ever were somebody's */
	struct entry *buckets[BUCKETS]; /* by hash_of(); those that are not retired */
	struct entry *idle;             /* the one that was longest is first */

	pthread_mutex_t forgotten_lock; /* of those who wait for `forgotten`; it guards nothing */
	pthread_cond_t forgotten;       /* one entry less */
};

struct callables *callables_create(void)
{
	struct callables *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	(void)pthread_rwlock_init(&table->lock, NULL);
	(void)pthread_mutex_init(&table->forgotten_lock, NULL);
	condition_init(&table->forgotten);
	return table;
}

void callables_destroy(struct callables *table)
{
	for (uint32_t i = 0; i < table->touched; i++)
		free(table->entries[i]);
	(void)pthread_cond_destroy(&table->forgotten);
	(void)pthread_mutex_destroy(&table->forgotten_lock);
	(void)pthread_rwlock_destroy(&table->lock);
	free(table);
}

void callables_on_gone(struct callables *table,
                       void (*gone)(void *context, struct exec_callable *callable), void *context)
{
	table->gone = gone;
	table->context = context;
}

static uint32_t place_of(uint64_t key)
{
	return (uint32_t)key - 1;
}

/* --- what makes an entry itself --- */

/* FNV-1a (Fowler, Noll, Vo). */
static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
	const uint8_t *byte = bytes;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t hash_of(const struct callable_spec *spec)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	hash = mix(hash, &spec->module, sizeof(spec->module));
	hash = mix(hash, &spec->function, sizeof(spec->function));
	hash = mix(hash, &spec->kind, sizeof(spec->kind));
	hash = mix(hash, &spec->idempotent, sizeof(spec->idempotent));
	hash = mix(hash, spec->name, strlen(spec->name));
	return mix(hash, spec->state.data, spec->state.size);
}

static bool is_same(const struct entry *entry, const struct callable_spec *spec)
{
	const struct exec_callable *callable = &entry->callable;
	simpler_bytes state = spec->state;

	return entry->module == spec->module && entry->function == spec->function &&
	       callable->kind == spec->kind && callable->idempotent == spec->idempotent &&
	       strcmp(callable->name, spec->name) == 0 && callable->state.size == state.size &&
	       (state.size == 0 || memcmp(callable->state.data, state.data, state.size) == 0);
}

/* Under either lock. */
static struct entry *find_same(struct callables *table, const struct callable_spec *spec,
                               uint64_t hash)
{
	for (struct entry *each = table->buckets[hash % BUCKETS]; each; each = each->next) {
		if (each->hash == hash && is_same(each, spec))
			return each;
	}
	return NULL;
}

static bool is_elsewhere(const struct module *module)
{
	return module->exec.origin.source == ORIGIN_LIBRARY && module->exec.fd < 0;
}

static simpler_status check_spec(const struct callable_spec *spec)
{
	if (!spec->name)
		return error_raise(SIMPLER_EINVAL,
		                   "a callable's name is NULL; give the function's");
	if (!spec->state.data && spec->state.size > 0)
		return error_raise(SIMPLER_EINVAL, "captured state of '%s' has %zu bytes at NULL",
		                   spec->name, spec->state.size);
	/* Before any of it is read: a size that is -1 by mistake is an error and no crash. */
	if (spec->state.size > SIMPLER_STATE_MAX)
		return error_raise(SIMPLER_ENOSPACE,
		                   "'%s' captures %zu bytes of state and at most %zu can be; pass "
		                   "larger data as a tensor",
		                   spec->name, spec->state.size, SIMPLER_STATE_MAX);
	return SIMPLER_OK;
}

static simpler_status check_source(const struct callable_spec *spec)
{
	if (spec->module && !is_elsewhere(spec->module))
		return module_file_find(&spec->module->file, spec->name, spec->kind);
	if (!module_name_valid(spec->name, strlen(spec->name)))
		return error_raise(SIMPLER_EINVAL,
		                   "'%.80s' is no name of a callable; give an identifier of 1 to "
		                   "%d ASCII bytes, such as the function's",
		                   spec->name, RECORD_NAME_MAX);
	return SIMPLER_OK;
}

static simpler_status locate(const void *function, struct exec_callable *callable,
                             struct origin *out)
{
	struct record_function *found = &callable->function;
	simpler_status status = program_function_locate(function, found);

	if (status != SIMPLER_OK)
		return error_context("registering the function '%s'", callable->name);
	callable->source = RECORD_FROM_PROGRAM;
	*out = (struct origin){ .source = ORIGIN_PROGRAM, .offset = found->offset };
	memcpy(out->object.bytes, found->identity, sizeof(out->object.bytes));
	return SIMPLER_OK;
}

/* All else of it is known. */
static simpler_status identify(struct entry *entry)
{
	struct exec_callable *callable = &entry->callable;
	simpler_status status = SIMPLER_OK;
	struct origin origin;

	if (entry->module) {
		callable->module = &entry->module->exec;
		origin = callable->module->origin;
	} else {
		status = locate(entry->function, callable, &origin);
	}
	return status == SIMPLER_OK
	               ? digest_callable(callable->kind, SIMPLER_CALLABLE_ABI, &origin,
	                                 callable->name, callable->state, &callable->digest)
	               : status;
}

static simpler_status make_entry(const struct callable_spec *spec, uint64_t hash,
                                 struct entry **out)
{
	struct entry *entry;
	simpler_status status = check_source(spec);

	if (status != SIMPLER_OK)
		return status;
	entry = calloc(1, sizeof(*entry) + spec->state.size);
	if (!entry)
		return error_raise(SIMPLER_ENOMEM, "out of memory for callable '%s'", spec->name);
	entry->module = spec->module;
	entry->function = spec->function;
	entry->hash = hash;
	entry->callable.kind = spec->kind;
	entry->callable.idempotent = spec->idempotent;
	/* It was checked, so it fits. */
	memcpy(entry->callable.name, spec->name, strlen(spec->name) + 1);
	entry->callable.state.data = entry->state;
	entry->callable.state.size = spec->state.size;
	if (spec->state.size > 0)
		memcpy(entry->state, spec->state.data, spec->state.size);
	status = identify(entry);
	if (status == SIMPLER_OK)
		*out = entry;
	else
		free(entry);
	return status;
}

/* --- places, under the write lock --- */

static void leave_bucket(struct callables *table, const struct entry *entry)
{
	struct entry **link = &table->buckets[entry->hash % BUCKETS];

	while (*link != entry)
		link = &(*link)->next;
	*link = entry->next;
}

static void give_up_place(struct callables *table, struct entry *entry)
{
	uint32_t place = place_of(entry->callable.key);

	table->entries[place] = NULL;
	table->generations[place]++;
	table->free_places[table->free_count++] = place;
	free(entry);
}

/* That of the entry that has been idle for longest. A use may last past its run's end, for as long
 * as the thread that ended the run's last task needs to let go of it. */
static bool evict(struct callables *table)
{
	struct entry *entry;

	DL_FOREACH2(table->idle, entry, idle_next)
	{
		if (atomic_load(&entry->uses) > 0)
			continue;
		/* What runs take is on no node: what a program registered there goes by being
		 * retired. */
		assert(!entry->callable.shipment);
		DL_DELETE2(table->idle, entry, idle_prev, idle_next);
		leave_bucket(table, entry);
		give_up_place(table, entry);
		return true;
	}
	return false;
}

static simpler_status take_place(struct callables *table, uint32_t *out)
{
	if (table->free_count == 0 && table->touched < CALLABLES_MAX) {
		*out = table->touched++;
		return SIMPLER_OK;
	}
	if (table->free_count == 0 && !evict(table))
		return error_raise(
			SIMPLER_ENOSPACE,
			"a worker has at most %u callables at once, and this one has; unregister "
			"some, or give them less various captured state",
			CALLABLES_MAX);
	*out = table->free_places[--table->free_count];
	return SIMPLER_OK;
}

static simpler_status publish(struct callables *table, struct entry *entry)
{
	struct entry **bucket = &table->buckets[entry->hash % BUCKETS];
	uint32_t place;
	simpler_status status = take_place(table, &place);

	if (status != SIMPLER_OK)
		return status;
	entry->callable.key = (uint64_t)table->generations[place] << 32 | (place + 1);
	table->entries[place] = entry;
	entry->next = *bucket;
	*bucket = entry;
	return SIMPLER_OK;
}

/* --- holds --- */

static bool has_hold(const struct callable_holds *holds, uint32_t place)
{
	return atomic_load(&holds->places[place / 64]) >> place % 64 & 1;
}

/* Under the write lock. `fresh`: it was made for this, and so is in no list. */
static void hold(struct callables *table, struct entry *entry, struct callable_holds *holds,
                 bool fresh)
{
	uint32_t place = place_of(entry->callable.key);

	if (holds && has_hold(holds, place))
		return;
	if (holds)
		atomic_fetch_or(&holds->places[place / 64], UINT64_C(1) << place % 64);
	entry->granted += !holds;
	if (entry->holds++ == 0 && !fresh)
		DL_DELETE2(table->idle, entry, idle_prev, idle_next);
}

/* Under the write lock. */
static void drop(struct callables *table, struct entry *entry)
{
	if (--entry->holds == 0)
		DL_APPEND2(table->idle, entry, idle_prev, idle_next);
}

/* Nothing to do: the run has it. */
static bool find_held(struct callables *table, const struct callable_spec *spec, uint64_t hash,
                      const struct callable_holds *holds, uint64_t *handle)
{
	struct entry *same;
	bool held;

	pthread_rwlock_rdlock(&table->lock);
	same = find_same(table, spec, hash);
	held = same && has_hold(holds, place_of(same->callable.key));
	if (held)
		*handle = same->callable.key;
	pthread_rwlock_unlock(&table->lock);
	return held;
}

static bool hold_same(struct callables *table, const struct callable_spec *spec, uint64_t hash,
                      struct callable_holds *holds, uint64_t *handle)
{
	struct entry *same;

	pthread_rwlock_wrlock(&table->lock);
	same = find_same(table, spec, hash);
	if (same) {
		hold(table, same, holds, false);
		*handle = same->callable.key;
	}
	pthread_rwlock_unlock(&table->lock);
	return same != NULL;
}

static simpler_status hold_new(struct callables *table, const struct callable_spec *spec,
                               struct entry *entry, struct callable_holds *holds, uint64_t *handle)
{
	simpler_status status = SIMPLER_OK;
	struct entry *same;

	pthread_rwlock_wrlock(&table->lock);
	same = find_same(table, spec, entry->hash);
	if (!same)
		status = publish(table, entry);
	if (status == SIMPLER_OK) {
		hold(table, same ? same : entry, holds, !same);
		*handle = same ? same->callable.key : entry->callable.key;
	}
	pthread_rwlock_unlock(&table->lock);
	if (same || status != SIMPLER_OK)
		free(entry);
	return status;
}

simpler_status callables_add(struct callables *table, const struct callable_spec *spec,
                             struct callable_holds *holds, uint64_t *handle)
{
	struct entry *entry;
	uint64_t hash;
	simpler_status status = check_spec(spec);

	if (status != SIMPLER_OK)
		return status;
	hash = hash_of(spec);
	if (holds && find_held(table, spec, hash, holds, handle))
		return SIMPLER_OK;
	if (hold_same(table, spec, hash, holds, handle))
		return SIMPLER_OK;
	status = make_entry(spec, hash, &entry);
	return status == SIMPLER_OK ? hold_new(table, spec, entry, holds, handle) : status;
}

/* Under either lock: what the handle names, retired or not. */
static struct entry *entry_of(const struct callables *table, uint64_t handle)
{
	uint32_t place = place_of(handle);
	struct entry *entry = place < table->touched ? table->entries[place] : NULL;

	return entry && entry->callable.key == handle ? entry : NULL;
}

void callables_drop(struct callables *table, uint64_t handle)
{
	struct entry *entry;

	pthread_rwlock_wrlock(&table->lock);
	entry = entry_of(table, handle);
	if (entry && entry->granted > 0) {
		entry->granted--;
		drop(table, entry);
	}
	pthread_rwlock_unlock(&table->lock);
}

void callables_drop_all(struct callables *table, struct callable_holds *holds)
{
	pthread_rwlock_wrlock(&table->lock);
	for (uint32_t place = 0; place < table->touched; place++) {
		if (has_hold(holds, place))
			drop(table, table->entries[place]);
	}
	pthread_rwlock_unlock(&table->lock);
}

/* --- uses --- */

/* Under either lock: why the handle is not good. */
static simpler_status explain_stale(const struct callables *table, uint64_t handle,
                                    simpler_kind kind)
{
	uint32_t place = place_of(handle);
	const struct entry *entry = entry_of(table, handle);

	if (entry && atomic_load(&entry->uses) & RETIRED)
		return error_raise(SIMPLER_ESTALE,
		                   "'%s' was unregistered, and this handle with it; register it "
		                   "again and use the new one",
		                   entry->callable.name);
	if (entry || (place < table->touched && handle >> 32 < table->generations[place]))
		return error_raise(
			SIMPLER_ESTALE,
			"the %s with handle %llu was unregistered, or was taken by a run "
			"that has ended; take a new handle",
			simpler_kind_name(kind), (unsigned long long)handle);
	return error_raise(SIMPLER_ESTALE,
	                   "this worker gave out no %s with handle %llu; use a handle that it "
	                   "gave you, in the same process",
	                   simpler_kind_name(kind), (unsigned long long)handle);
}

/* Under either lock. */
static simpler_status find(const struct callables *table, uint64_t handle, simpler_kind kind,
                           struct entry **out)
{
	struct entry *entry = entry_of(table, handle);

	if (!entry || entry->holds == 0)
		return explain_stale(table, handle, kind);
	if (entry->callable.kind != kind)
		return error_raise(SIMPLER_EKIND, "'%s' is of kind %s, and %s is needed here",
		                   entry->callable.name, simpler_kind_name(entry->callable.kind),
		                   simpler_kind_name(kind));
	*out = entry;
	return SIMPLER_OK;
}

simpler_status callables_find(struct callables *table, uint64_t handle, simpler_kind kind,
                              struct exec_callable **out)
{
	struct entry *entry;
	simpler_status status;

	pthread_rwlock_rdlock(&table->lock);
	status = find(table, handle, kind, &entry);
	if (status == SIMPLER_OK) {
		atomic_fetch_add(&entry->uses, 1);
		*out = &entry->callable;
	}
	pthread_rwlock_unlock(&table->lock);
	return status;
}

struct exec_callable *callables_at(struct callables *table, uint32_t index)
{
	struct entry *entry;

	pthread_rwlock_rdlock(&table->lock);
	entry = table->entries[index];
	if (entry && entry->holds == 0)
		entry = NULL;
	if (entry)
		atomic_fetch_add(&entry->uses, 1);
	pthread_rwlock_unlock(&table->lock);
	return entry ? &entry->callable : NULL;
}

/* Who ends the last use of a retired one has it on its way out already. */
static bool use_retired(struct entry *entry)
{
	uint32_t uses = atomic_load(&entry->uses);

	while (uses & RETIRED && uses != RETIRED) {
		if (atomic_compare_exchange_weak(&entry->uses, &uses, uses + 1))
			return true;
	}
	return false;
}

struct exec_callable *callables_in_use_at(struct callables *table, uint32_t index)
{
	struct exec_callable *callable = callables_at(table, index);
	struct entry *entry;

	if (callable)
		return callable;
	pthread_rwlock_rdlock(&table->lock);
	entry = table->entries[index];
	if (entry && use_retired(entry))
		callable = &entry->callable;
	pthread_rwlock_unlock(&table->lock);
	return callable;
}

static void part_with(struct callables *table, struct exec_callable *callable)
{
	if (table->gone)
		table->gone(table->context, callable);
	else
		callables_forget(table, callable);
}

void callables_release(struct callables *table, const struct exec_callable *callable)
{
	/* The table's own memory, const for others. */
	struct entry *entry = (struct entry *)(uintptr_t)callable;

	if (atomic_fetch_sub(&entry->uses, 1) == (RETIRED | 1))
		part_with(table, &entry->callable);
}

/* --- the end --- */

/* Under the write lock. True when it is used no more. */
static bool retire(struct callables *table, struct entry *entry)
{
	leave_bucket(table, entry);
	return atomic_fetch_or(&entry->uses, RETIRED) == 0;
}

simpler_status callables_retire(struct callables *table, uint64_t handle, simpler_kind kind,
                                bool *last)
{
	bool unused = false;
	struct entry *entry;
	simpler_status status;

	*last = false;
	pthread_rwlock_wrlock(&table->lock);
	status = find(table, handle, kind, &entry);
	if (status == SIMPLER_OK && entry->granted == 0)
		status =
			error_raise(SIMPLER_ESTALE,
		                    "the handle of '%s' is that of a run, which gives it back when "
		                    "it ends",
		                    entry->callable.name);
	if (status == SIMPLER_OK) {
		entry->granted--;
		*last = --entry->holds == 0;
		unused = *last && retire(table, entry);
	}
	pthread_rwlock_unlock(&table->lock);
	if (unused)
		part_with(table, &entry->callable);
	return status;
}

void callables_forget(struct callables *table, struct exec_callable *callable)
{
	pthread_rwlock_wrlock(&table->lock);
	give_up_place(table, (struct entry *)callable);
	pthread_rwlock_unlock(&table->lock);
	pthread_mutex_lock(&table->forgotten_lock);
	(void)pthread_cond_broadcast(&table->forgotten);
	pthread_mutex_unlock(&table->forgotten_lock);
}

static bool is_there(struct callables *table, uint64_t handle)
{
	bool there;

	pthread_rwlock_rdlock(&table->lock);
	there = entry_of(table, handle) != NULL;
	pthread_rwlock_unlock(&table->lock);
	return there;
}

bool callables_await_forgotten(struct callables *table, uint64_t handle, int64_t deadline)
{
	bool there;

	pthread_mutex_lock(&table->forgotten_lock);
	while ((there = is_there(table, handle)) &&
	       condition_wait(&table->forgotten, &table->forgotten_lock, deadline))
		;
	pthread_mutex_unlock(&table->forgotten_lock);
	return !there;
}
