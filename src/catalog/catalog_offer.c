/*
 * How callables come into the catalog. An offer looks whether the callable is known, then gets its
 * module ready without the lock, then publishes under it, where another offer may have been faster.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "catalog/callable.h"
#include "catalog/library.h"

/* An offering that was read and checked. */
struct offer {
	const struct catalog_offering *offering;
	struct payload payload;
	struct digest digest;
};

static simpler_status no_memory(void)
{
	return error_raise(SIMPLER_ENOMEM, "no memory for a callable");
}

/* The last one that the policy let pass is what the callable is judged by later: its key is in use,
 * and that of an earlier one may be on its way out. */
static void take_signature(struct callable *callable, const struct payload *payload)
{
	if (payload->signature.size != SIGNATURE_BYTES)
		return;
	callable->entry.is_signed = true;
	memcpy(callable->entry.signature, payload->signature.data, SIGNATURE_BYTES);
}

/*
 * The callable that an offer names, when it is known: owned by one more now.
 *
 * Two digests with the same first 8 bytes are the same version to the wire, so the second is
 * refused.
 */
static simpler_status own_known(struct catalog *catalog, const struct offer *offer,
                                struct callable **out, struct aftermath *aftermath)
{
	const struct catalog_offering *offering = offer->offering;
	struct family *family = table_find_family(&catalog->table, offering->callable_id);
	struct callable *callable = family_find(family, digest_version(&offer->digest));
	char text[DIGEST_HEX_BYTES];

	*out = callable;
	if (!callable)
		return SIMPLER_OK;
	if (memcmp(&callable->entry.digest, &offer->digest, sizeof(offer->digest)) != 0) {
		digest_hex(&callable->entry.digest, text);
		return error_raise(SIMPLER_EEXIST,
		                   "callable %" PRIu64 " version %" PRIu64
		                   " is taken by another callable with digest %s",
		                   offering->callable_id, callable->entry.version, text);
	}
	take_signature(callable, &offer->payload);
	return catalog_own(catalog, callable, offering->session, offering->commit, aftermath);
}

static struct callable *make_callable(const struct offer *offer, const struct stored_module *module)
{
	const struct payload *payload = &offer->payload;
	struct callable *callable = calloc(1, sizeof(*callable) + payload->state.size);

	if (!callable)
		return NULL;
	callable->module = module;
	callable->entry = (struct catalog_entry){
		.callable_id = offer->offering->callable_id,
		.version = digest_version(&offer->digest),
		.digest = offer->digest,
		.state = CATALOG_PENDING,
		.payload = *payload,
		.module = module->digest,
		.module_bytes = module->bytes,
		.module_fd = module->fd,
	};
	if (payload->state.size)
		memcpy(callable->state, payload->state.data, payload->state.size);
	callable->entry.payload.state.data = callable->state;
	callable->entry.payload.signature = simpler_no_state();
	take_signature(callable, payload);
	callable->entry.payload.module_bytes = simpler_no_state();
	if (payload->origin.source == ORIGIN_MODULE && module->bytes.size <= PAYLOAD_MODULE_MAX)
		callable->entry.payload.module_bytes = module->bytes;
	return callable;
}

/* Under the lock. */
static simpler_status add(struct catalog *catalog, struct callable *callable,
                          const struct catalog_offering *offering, struct aftermath *aftermath)
{
	simpler_status status;

	if (table_count(&catalog->table) >= catalog->options.callables)
		return error_raise(SIMPLER_ENOSPACE,
		                   "there are %zu callables here, and no more than that can be; "
		                   "unregister some",
		                   catalog->options.callables);
	if (!table_add(&catalog->table, callable))
		return no_memory();
	status = catalog_own(catalog, callable, offering->session, offering->commit, aftermath);
	if (status)
		table_remove(&catalog->table, callable);
	return status;
}

/* Put a callable into the catalog, or find that another one was faster. */
static simpler_status publish(struct catalog *catalog, const struct offer *offer,
                              struct callable *callable, struct catalog_entry *out, bool *fresh)
{
	struct aftermath aftermath = { NULL, NULL };
	struct callable *known;
	simpler_status status;

	pthread_mutex_lock(&catalog->lock);
	status = own_known(catalog, offer, &known, &aftermath);
	if (!status && !known)
		status = add(catalog, callable, offer->offering, &aftermath);
	*fresh = !status && !known;
	if (!status)
		*out = known ? known->entry : callable->entry;
	pthread_mutex_unlock(&catalog->lock);
	if (!*fresh)
		catalog_free_callable(catalog, callable);
	catalog_finish(catalog, &aftermath);
	return status;
}

/* --- modules and libraries: whatever comes in is judged by the policy --- */

struct policy_subject catalog_subject(const struct payload *payload, const struct digest *module)
{
	struct policy_subject subject = { .signature = payload->signature, .digest = module };

	if (payload->origin.source == ORIGIN_LIBRARY)
		subject.library = payload->origin.library;
	else
		subject.digest = &payload->origin.module;
	return subject;
}

static simpler_status judge(struct catalog *catalog, const struct payload *payload,
                            const struct digest *module)
{
	const struct policy_subject subject = catalog_subject(payload, module);

	return policy_check(catalog->policy, &subject);
}

simpler_status catalog_begin_upload(struct catalog *catalog, const struct digest *digest,
                                    simpler_bytes signature, uint64_t nbytes,
                                    struct module_upload **out)
{
	const struct policy_subject subject = { .digest = digest, .signature = signature };
	simpler_status status = policy_check(catalog->policy, &subject);

	return status ? status : module_upload_begin(catalog->modules, digest, nbytes, out);
}

/* The library's file as it is now becomes a module like any other. */
static simpler_status use_library(struct catalog *catalog, const char *library,
                                  const struct stored_module **out)
{
	const struct catalog_options *options = &catalog->options;
	simpler_status status;
	int fd;

	status = library_open(options->library_directories, options->library_directory_count,
	                      library, &fd);
	if (status)
		return status;
	status = module_store_use_file(catalog->modules, fd, library, out);
	(void)close(fd);
	return status ? error_context("library '%s' of this node", library) : SIMPLER_OK;
}

static simpler_status use_origin(struct catalog *catalog, const struct payload *payload,
                                 const struct stored_module **out)
{
	const struct origin *origin = &payload->origin;
	simpler_status status;

	if (origin->source == ORIGIN_MODULE)
		return module_store_use(catalog->modules, &origin->module, payload->module_bytes,
		                        out);
	status = use_library(catalog, origin->library, out);
	if (status)
		return status;
	/* Now that it is known what it is. */
	status = judge(catalog, payload, &(*out)->digest);
	if (status)
		module_store_leave(catalog->modules, *out);
	return status;
}

/* --- offering --- */

static simpler_status offer_new(struct catalog *catalog, const struct offer *offer,
                                struct catalog_entry *out, bool *fresh)
{
	const struct payload *payload = &offer->payload;
	const struct stored_module *module;
	struct callable *callable;
	simpler_status status = use_origin(catalog, payload, &module);

	if (status)
		return status;
	status = module_file_find(&module->file, payload->name, payload->kind);
	if (!status) {
		callable = make_callable(offer, module);
		if (callable)
			return publish(catalog, offer, callable, out, fresh);
		status = no_memory();
	}
	module_store_leave(catalog->modules, module);
	return status;
}

/* What the sender says the callable is has to be what it is. */
static simpler_status check_identity(const struct offer *offer)
{
	const struct catalog_offering *offering = offer->offering;
	uint64_t version = digest_version(&offer->digest);
	char text[DIGEST_HEX_BYTES];

	if (offering->version != 0 && offering->version != version)
		return error_raise(SIMPLER_EINVAL,
		                   "version %" PRIu64 " is not that of '%s', which is %" PRIu64
		                   ": the first 8 bytes of its digest, little-endian",
		                   offering->version, offer->payload.name, version);
	if (offering->digest.size == 0 ||
	    (offering->digest.size == DIGEST_BYTES &&
	     memcmp(offering->digest.data, offer->digest.bytes, DIGEST_BYTES) == 0))
		return SIMPLER_OK;
	digest_hex(&offer->digest, text);
	return error_raise(SIMPLER_EINVAL,
	                   "the digest that came with '%s' is not that of its payload, which is %s",
	                   offer->payload.name, text);
}

/* The one way in for callables: whatever comes is decoded here, and judged by the policy. */
static simpler_status read_offering(struct catalog *catalog,
                                    const struct catalog_offering *offering, struct offer *out)
{
	struct payload *payload = &out->payload;
	simpler_status status;

	out->offering = offering;
	if (offering->callable_id == 0)
		return error_raise(SIMPLER_EINVAL, "callable id 0 names nothing; choose another");
	status = payload_decode(offering->payload.data, offering->payload.size, payload);
	if (!status)
		status = judge(catalog, payload, NULL);
	if (!status)
		status = digest_callable(payload->kind, payload->abi, &payload->origin,
		                         payload->name, payload->state, &out->digest);
	return status ? status : check_identity(out);
}

simpler_status catalog_offer(struct catalog *catalog, const struct catalog_offering *offering,
                             struct catalog_entry *out, bool *fresh)
{
	struct aftermath aftermath = { NULL, NULL };
	struct offer offer;
	struct callable *known = NULL;
	simpler_status status = read_offering(catalog, offering, &offer);

	*fresh = false;
	if (status)
		return status;
	pthread_mutex_lock(&catalog->lock);
	status = own_known(catalog, &offer, &known, &aftermath);
	if (!status && known)
		*out = known->entry;
	pthread_mutex_unlock(&catalog->lock);
	catalog_finish(catalog, &aftermath);
	if (status || known)
		return status;
	return offer_new(catalog, &offer, out, fresh);
}
