/*
 * An object's identity is the SHA-256 of its build id. One that was linked without is told by its
 * program headers and its code: all of that is read, which takes a moment when it is large.
 */
#include "ipc/program_function.h"

#include <inttypes.h>
#include <string.h>

#include "catalog/digest.h"
#include "os/image.h"

_Static_assert(DIGEST_BYTES == RECORD_DIGEST_BYTES, "an identity is a digest");

static simpler_status identify(const struct image *image, struct digest *out)
{
	struct digest parts[IMAGE_MAX_PARTS];
	simpler_status status = SIMPLER_OK;

	if (image->build_id.size > 0)
		return digest_compute(image->build_id.bytes, image->build_id.size, out);
	for (size_t i = 0; i < image->part_count && status == SIMPLER_OK; i++)
		status = digest_compute(image->parts[i].bytes, image->parts[i].size, &parts[i]);
	return status == SIMPLER_OK
	               ? digest_compute(parts, image->part_count * sizeof(parts[0]), out)
	               : status;
}

simpler_status program_function_locate(const void *function, struct record_function *out)
{
	struct image image;
	struct digest identity;
	simpler_status status;

	if (!image_of(function, &image))
		return error_raise(SIMPLER_EINVAL,
		                   "it is in the code of no program or library; give a function as "
		                   "it was compiled");
	if (strlen(image.name) > RECORD_OBJECT_MAX)
		return error_raise(SIMPLER_EINVAL, "its library's name is over %d bytes",
		                   RECORD_OBJECT_MAX);
	status = identify(&image, &identity);
	if (status != SIMPLER_OK)
		return status;
	memset(out, 0, sizeof(*out));
	memcpy(out->object, image.name, strlen(image.name));
	memcpy(out->identity, identity.bytes, sizeof(out->identity));
	out->offset = (uint64_t)((uintptr_t)function - image.base);
	return SIMPLER_OK;
}

static const char *name_of(const struct record_function *function)
{
	return function->object[0] ? function->object : "the program";
}

/* It is the object that was meant, of the same build. */
static simpler_status take_address(const struct image *image,
                                   const struct record_function *function, const void **out)
{
	if (!image_has_code(image, function->offset))
		return error_raise(SIMPLER_EPROTOCOL,
		                   "offset 0x%" PRIx64 " in %s is outside of its code",
		                   function->offset, name_of(function));
	*out = (const void *)(image->base + (uintptr_t)function->offset);
	return SIMPLER_OK;
}

simpler_status program_function_find(const struct record_function *function, const void **out)
{
	struct image image;
	struct digest identity;
	size_t count = 0;

	/* Several may have the name: libraries from different folders. */
	for (; image_named(function->object, count, &image); count++) {
		simpler_status status = identify(&image, &identity);

		if (status != SIMPLER_OK)
			return status;
		if (memcmp(identity.bytes, function->identity, sizeof(identity.bytes)) == 0)
			return take_address(&image, function, out);
	}
	if (count > 0)
		return error_raise(SIMPLER_EVERSION,
		                   "%s is of another build here than in the program that "
		                   "registered the function; start that again",
		                   name_of(function));
	return error_raise(SIMPLER_ENOTFOUND,
	                   "the function is in %s, which is not loaded here: link it with the "
	                   "program, or make a module of it",
	                   name_of(function));
}
