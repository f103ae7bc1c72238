/*
 * A module's callables, read out of an ELF file without running or mapping any of it.
 *
 * The bytes may come from anybody, so this is a small pure function, which is fuzzed; elf_file.h
 * says how it reads. A library for ELF files would do far more with hostile bytes than the one look
 * at one section that is wanted here.
 *
 * The sections only say what a module claims to hold. What it does hold is found when its entry
 * is looked up in the process that loads it.
 */
#include "catalog/module_file.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "catalog/elf_file.h"

#define SECTION_NAME "simpler_callables"

/* The table of sections as a view of its own; its entries are then read with read_section(). */
static simpler_status find_table(const struct elf_view *file, const Elf64_Ehdr *elf,
                                 struct elf_view *table)
{
	uint64_t size = (uint64_t)elf->e_shnum * sizeof(Elf64_Shdr);

	if (elf->e_shnum == 0 || elf->e_shoff == 0)
		return error_raise(SIMPLER_EINVAL,
		                   "the module has no section table; do not strip section headers");
	if (elf->e_shentsize != sizeof(Elf64_Shdr))
		return error_raise(SIMPLER_EINVAL,
		                   "the module's section headers are of %u bytes, not %zu",
		                   elf->e_shentsize, sizeof(Elf64_Shdr));
	if (elf->e_shoff < sizeof(Elf64_Ehdr) || !elf_holds(file, elf->e_shoff, size))
		return error_raise(SIMPLER_EINVAL,
		                   "the module's section table lies outside of its %zu bytes; "
		                   "the file is cut short or damaged",
		                   file->size);
	table->bytes = file->bytes + elf->e_shoff;
	table->size = (size_t)size;
	return SIMPLER_OK;
}

static Elf64_Shdr read_section(const struct elf_view *table, size_t index)
{
	Elf64_Shdr section;

	memcpy(&section, table->bytes + index * sizeof(section), sizeof(section));
	return section;
}

/* A section's bytes. False when they lie outside of the file or there are none in it. */
static bool contents(const struct elf_view *file, const Elf64_Shdr *section, struct elf_view *out)
{
	if (section->sh_type == SHT_NOBITS ||
	    !elf_holds(file, section->sh_offset, section->sh_size))
		return false;
	out->bytes = file->bytes + section->sh_offset;
	out->size = (size_t)section->sh_size;
	return true;
}

static simpler_status find_names(const struct elf_view *file, const Elf64_Ehdr *elf,
                                 const struct elf_view *table, struct elf_view *names)
{
	Elf64_Shdr section;

	if (elf->e_shstrndx >= elf->e_shnum)
		return error_raise(SIMPLER_EINVAL,
		                   "the module's section names are in section %u of %u",
		                   elf->e_shstrndx, elf->e_shnum);
	section = read_section(table, elf->e_shstrndx);
	if (section.sh_type != SHT_STRTAB || !contents(file, &section, names))
		return error_raise(SIMPLER_EINVAL,
		                   "the module's section names lie outside of its %zu bytes",
		                   file->size);
	return SIMPLER_OK;
}

static bool is_named(const struct elf_view *names, const Elf64_Shdr *section)
{
	return elf_holds(names, section->sh_name, sizeof(SECTION_NAME)) &&
	       memcmp(names->bytes + section->sh_name, SECTION_NAME, sizeof(SECTION_NAME)) == 0;
}

/* The one section of descriptors. */
static simpler_status find_section(const struct elf_view *file, size_t count,
                                   const struct elf_view *table, const struct elf_view *names,
                                   struct elf_view *out)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		Elf64_Shdr section = read_section(table, i);

		if (!is_named(names, &section))
			continue;
		if (++found > 1)
			return error_raise(SIMPLER_EINVAL,
			                   "the module has several sections " SECTION_NAME);
		if (section.sh_type != SHT_PROGBITS || !contents(file, &section, out))
			return error_raise(SIMPLER_EINVAL, "the module's section " SECTION_NAME
			                                   " has no bytes in the file");
	}
	if (!found || out->size == 0)
		return error_raise(
			SIMPLER_EINVAL,
			"the module declares no callables: it has no section " SECTION_NAME
			"; use SIMPLER_SUB, SIMPLER_ORCH or SIMPLER_CHIP of "
			"simpler/module.h");
	return SIMPLER_OK;
}

static simpler_status find_descriptors(const struct elf_view *file, struct elf_view *out)
{
	Elf64_Ehdr elf;
	struct elf_view table, names;
	simpler_status status = elf_read_header(file, &elf);

	if (!status)
		status = find_table(file, &elf, &table);
	if (!status)
		status = find_names(file, &elf, &table, &names);
	if (!status)
		status = find_section(file, elf.e_shnum, &table, &names, out);
	return status;
}

/* What is the same in every ABI: the magic, and behind it the size and the ABI. */
static simpler_status check_abi(const struct elf_view *section)
{
	simpler_descriptor first = { 0 };
	size_t size = offsetof(simpler_descriptor, kind);

	if (!elf_copy_out(section, 0, &first, size) ||
	    memcmp(first.magic, "simpler", sizeof(first.magic)) != 0)
		return error_raise(SIMPLER_EINVAL,
		                   "the module's section " SECTION_NAME " holds no descriptors");
	if (first.abi != SIMPLER_CALLABLE_ABI)
		return error_raise(SIMPLER_EVERSION,
		                   "the module was compiled for callable ABI %u, this side has %d; "
		                   "compile it against this version's headers",
		                   first.abi, SIMPLER_CALLABLE_ABI);
	return SIMPLER_OK;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool module_name_valid(const char *name, size_t size)
{
	if (size == 0 || size > SIMPLER_NAME_MAX || !is_letter(name[0]))
		return false;
	for (size_t i = 1; i < size; i++) {
		if (!is_letter(name[i]) && !(name[i] >= '0' && name[i] <= '9'))
			return false;
	}
	return true;
}

bool module_kind_valid(uint32_t kind)
{
	return kind == SIMPLER_KIND_SUB || kind == SIMPLER_KIND_ORCH || kind == SIMPLER_KIND_CHIP;
}

static simpler_status check_descriptor(const simpler_descriptor *descriptor, size_t index)
{
	const char *end = memchr(descriptor->name, '\0', sizeof(descriptor->name));

	if (memcmp(descriptor->magic, "simpler", sizeof(descriptor->magic)) != 0 ||
	    descriptor->descriptor_size != sizeof(*descriptor) || descriptor->reserved != 0 ||
	    descriptor->abi != SIMPLER_CALLABLE_ABI)
		return error_raise(SIMPLER_EINVAL, "the module's descriptor %zu is damaged", index);
	if (!module_kind_valid(descriptor->kind))
		return error_raise(SIMPLER_EINVAL,
		                   "the module's descriptor %zu is of unknown kind %u", index,
		                   descriptor->kind);
	if (!end || !module_name_valid(descriptor->name, (size_t)(end - descriptor->name)))
		return error_raise(SIMPLER_EINVAL,
		                   "the name in the module's descriptor %zu is no identifier of 1 "
		                   "to %d ASCII letters, digits and underscores",
		                   index, SIMPLER_NAME_MAX);
	return SIMPLER_OK;
}

static const struct module_entry *lookup(const struct module_file *file, const char *name)
{
	for (size_t i = 0; i < file->count; i++) {
		if (strcmp(file->entries[i].name, name) == 0)
			return &file->entries[i];
	}
	return NULL;
}

static simpler_status add_entry(const struct elf_view *section, struct module_file *out)
{
	struct module_entry *entry = &out->entries[out->count];
	simpler_descriptor descriptor;
	simpler_status status;

	memcpy(&descriptor, section->bytes + out->count * sizeof(descriptor), sizeof(descriptor));
	status = check_descriptor(&descriptor, out->count);
	if (status)
		return status;
	if (lookup(out, descriptor.name))
		return error_raise(SIMPLER_EINVAL, "the module declares '%s' twice",
		                   descriptor.name);
	entry->kind = (simpler_kind)descriptor.kind;
	memcpy(entry->name, descriptor.name, sizeof(entry->name));
	out->count++;
	return SIMPLER_OK;
}

static simpler_status read_descriptors(const struct elf_view *section, struct module_file *out)
{
	size_t count = section->size / sizeof(simpler_descriptor);
	simpler_status status = check_abi(section);

	if (status)
		return status;
	if (section->size % sizeof(simpler_descriptor) != 0)
		return error_raise(SIMPLER_EINVAL,
		                   "the module's section " SECTION_NAME
		                   " of %zu bytes holds no whole number of descriptors of %zu",
		                   section->size, sizeof(simpler_descriptor));
	if (count > MODULE_MAX_CALLABLES)
		return error_raise(SIMPLER_EINVAL, "the module declares %zu callables, at most %d",
		                   count, MODULE_MAX_CALLABLES);
	while (!status && out->count < count)
		status = add_entry(section, out);
	return status;
}

simpler_status module_file_parse(const void *bytes, size_t size, struct module_file *out)
{
	struct elf_view file = { bytes, size }, section = { NULL, 0 };
	simpler_status status;

	out->count = 0;
	if (size > MODULE_MAX_BYTES)
		return error_raise(SIMPLER_EINVAL, "the module is of %zu bytes, at most %zu", size,
		                   MODULE_MAX_BYTES);
	status = find_descriptors(&file, &section);
	return status ? status : read_descriptors(&section, out);
}

/* "add (sub task), top (orchestration function)", cut to what fits. */
static void list_entries(const struct module_file *file, char *out, size_t capacity)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t i = 0; i < file->count; i++) {
		const struct module_entry *entry = &file->entries[i];
		int written = snprintf(out + used, capacity - used, "%s%s (%s)", i ? ", " : "",
		                       entry->name, simpler_kind_name(entry->kind));

		if (written < 0 || (size_t)written >= capacity - used) {
			memcpy(out + capacity - sizeof("..."), "...", sizeof("..."));
			return;
		}
		used += (size_t)written;
	}
}

simpler_status module_file_find(const struct module_file *file, const char *name, simpler_kind kind)
{
	const struct module_entry *entry = lookup(file, name);
	char there[512];

	if (entry && entry->kind == kind)
		return SIMPLER_OK;
	if (entry)
		return error_raise(SIMPLER_EKIND, "'%s' is declared as %s, not as %s", name,
		                   simpler_kind_name(entry->kind), simpler_kind_name(kind));
	list_entries(file, there, sizeof(there));
	return error_raise(SIMPLER_ENOTFOUND, "the module declares no '%s'; it declares: %s", name,
	                   there);
}
