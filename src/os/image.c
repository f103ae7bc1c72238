#include "os/image.h"

#include <link.h>
#include <string.h>

static size_t aligned(size_t size)
{
	return (size + 3) & ~(size_t)3;
}

/* The note that GNU's linker and others write with --build-id. */
static void find_build_id(const uint8_t *notes, size_t size, struct image *out)
{
	ElfW(Nhdr) note;

	while (size >= sizeof(note)) {
		size_t name, whole;

		memcpy(&note, notes, sizeof(note));
		name = sizeof(note) + aligned(note.n_namesz);
		whole = name + aligned(note.n_descsz);
		if (name > size || whole > size)
			return;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof("GNU") &&
		    memcmp(notes + sizeof(note), "GNU", sizeof("GNU")) == 0) {
			out->build_id = (struct image_part){ notes + name, note.n_descsz };
			return;
		}
		notes += whole;
		size -= whole;
	}
}

static bool is_code(const ElfW(Phdr) * header)
{
	return header->p_type == PT_LOAD &&
	       (header->p_flags & (PF_X | PF_R | PF_W)) == (PF_X | PF_R);
}

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void describe(const struct dl_phdr_info *info, struct image *out)
{
	memset(out, 0, sizeof(*out));
	out->name = file_name(info->dlpi_name);
	out->base = info->dlpi_addr;
	out->parts[out->part_count++] =
		(struct image_part){ info->dlpi_phdr, info->dlpi_phnum * sizeof(ElfW(Phdr)) };
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		const uint8_t *bytes = (const uint8_t *)(info->dlpi_addr + header->p_vaddr);

		if (header->p_type == PT_NOTE && out->build_id.size == 0)
			find_build_id(bytes, header->p_filesz, out);
		else if (is_code(header) && out->part_count < IMAGE_MAX_PARTS)
			out->parts[out->part_count++] =
				(struct image_part){ bytes, header->p_filesz };
	}
}

bool image_has_code(const struct image *image, uint64_t offset)
{
	uintptr_t address = image->base + (uintptr_t)offset;

	for (size_t i = 1; i < image->part_count; i++) {
		uintptr_t start = (uintptr_t)image->parts[i].bytes;

		if (address >= start && address - start < image->parts[i].size)
			return true;
	}
	return false;
}

/* The dynamic loader holds a lock while it goes through its objects: nothing is done there but to
 * look. */
struct search {
	const char *name; /* NULL: by address */
	size_t left;      /* of that name, before the one that is wanted */
	uintptr_t address;
	struct image *out;
};

static bool matches(struct search *search, const struct image *image)
{
	if (!search->name)
		return image_has_code(image, search->address - image->base);
	return strcmp(image->name, search->name) == 0 && search->left-- == 0;
}

static int look(struct dl_phdr_info *info, size_t size, void *context)
{
	struct search *search = context;
	struct image image;

	(void)size;
	describe(info, &image);
	if (!matches(search, &image))
		return 0;
	*search->out = image;
	return 1;
}

bool image_of(const void *address, struct image *out)
{
	struct search search = { .address = (uintptr_t)address, .out = out };

	return dl_iterate_phdr(look, &search) == 1;
}

bool image_named(const char *name, size_t index, struct image *out)
{
	struct search search = { .name = name, .left = index, .out = out };

	return dl_iterate_phdr(look, &search) == 1;
}
