/*
 * What module_file_parse() accepts and refuses. The files are real ones, built beside this test;
 * the bad ones are the same with some bytes changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <elf.h>

#include "catalog/module_file.h"
#include "test_modules.h"

struct bytes {
	uint8_t *data;
	size_t size;
};

static struct bytes read_module(const char *name)
{
	struct bytes out = { NULL, 0 };
	char path[4096];
	FILE *file;
	long size;

	(void)snprintf(path, sizeof(path), "%s/%s.so", TEST_MODULES_DIR, name);
	file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	size = ftell(file);
	assert_true(size > 0);
	rewind(file);
	out.size = (size_t)size;
	out.data = malloc(out.size);
	assert_non_null(out.data);
	assert_int_equal(fread(out.data, 1, out.size, file), out.size);
	assert_int_equal(fclose(file), 0);
	return out;
}

/* Parses a copy that ends where its memory ends, so that a byte too far is noticed. */
static simpler_status parse(const uint8_t *bytes, size_t size, struct module_file *out)
{
	uint8_t *copy = malloc(size ? size : 1);
	simpler_status status;

	assert_non_null(copy);
	if (size)
		memcpy(copy, bytes, size);
	status = module_file_parse(copy, size, out);
	free(copy);
	return status;
}

static Elf64_Ehdr header_of(const struct bytes *file)
{
	Elf64_Ehdr elf;

	memcpy(&elf, file->data, sizeof(elf));
	return elf;
}

static size_t section_header_at(const struct bytes *file, size_t index)
{
	Elf64_Ehdr elf = header_of(file);

	return elf.e_shoff + index * sizeof(Elf64_Shdr);
}

static Elf64_Shdr section_at(const struct bytes *file, size_t index)
{
	Elf64_Shdr section;

	memcpy(&section, file->data + section_header_at(file, index), sizeof(section));
	return section;
}

/* The index of the section with the descriptors, found the slow way. */
static size_t find_section(const struct bytes *file)
{
	Elf64_Ehdr elf = header_of(file);
	Elf64_Shdr names = section_at(file, elf.e_shstrndx);

	for (size_t i = 0; i < elf.e_shnum; i++) {
		const char *name =
			(const char *)file->data + names.sh_offset + section_at(file, i).sh_name;

		if (strcmp(name, "simpler_callables") == 0)
			return i;
	}
	fail_msg("the test's module has no descriptors");
	return 0;
}

static size_t descriptor_at(const struct bytes *file, size_t index)
{
	return section_at(file, find_section(file)).sh_offset + index * sizeof(simpler_descriptor);
}

static void a_module_lists_its_callables(void **state)
{
	struct bytes file = read_module("twice");
	struct module_file parsed;

	(void)state;
	assert_int_equal(parse(file.data, file.size, &parsed), SIMPLER_OK);
	assert_int_equal(parsed.count, 2);
	assert_int_equal(module_file_find(&parsed, "twice", SIMPLER_KIND_SUB), SIMPLER_OK);
	assert_int_equal(module_file_find(&parsed, "twice_below", SIMPLER_KIND_ORCH), SIMPLER_OK);
	free(file.data);
}

static void descriptors_of_several_files_follow_each_other(void **state)
{
	struct bytes file = read_module("two_files");
	struct module_file parsed;

	(void)state;
	assert_int_equal(parse(file.data, file.size, &parsed), SIMPLER_OK);
	assert_int_equal(parsed.count, 3);
	assert_int_equal(module_file_find(&parsed, "first", SIMPLER_KIND_SUB), SIMPLER_OK);
	assert_int_equal(module_file_find(&parsed, "kernel", SIMPLER_KIND_CHIP), SIMPLER_OK);
	free(file.data);
}

static void finding_says_what_there_is(void **state)
{
	struct bytes file = read_module("two_files");
	struct module_file parsed;

	(void)state;
	assert_int_equal(parse(file.data, file.size, &parsed), SIMPLER_OK);
	assert_int_equal(module_file_find(&parsed, "third", SIMPLER_KIND_SUB), SIMPLER_ENOTFOUND);
	assert_non_null(strstr(simpler_last_error(), "first (sub task)"));
	assert_non_null(strstr(simpler_last_error(), "kernel (chip kernel)"));
	assert_int_equal(module_file_find(&parsed, "kernel", SIMPLER_KIND_SUB), SIMPLER_EKIND);
	assert_non_null(strstr(simpler_last_error(), "chip kernel"));
	assert_non_null(strstr(simpler_last_error(), "sub task"));
	free(file.data);
}

static void a_long_list_is_cut(void **state)
{
	static struct module_file many;

	(void)state;
	many.count = MODULE_MAX_CALLABLES;
	for (size_t i = 0; i < many.count; i++) {
		many.entries[i].kind = SIMPLER_KIND_SUB;
		(void)snprintf(many.entries[i].name, sizeof(many.entries[i].name), "name_%zu", i);
	}
	assert_int_equal(module_file_find(&many, "other", SIMPLER_KIND_SUB), SIMPLER_ENOTFOUND);
	assert_non_null(strstr(simpler_last_error(), "..."));
}

static void a_shared_object_without_callables_is_no_module(void **state)
{
	struct bytes file = read_module("no_callables");
	struct module_file parsed;

	(void)state;
	assert_int_equal(parse(file.data, file.size, &parsed), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "no callables"));
	free(file.data);
}

/* The section table is at the end, so that no part of a module is one. */
static void no_prefix_of_a_module_is_one(void **state)
{
	struct bytes file = read_module("twice");
	struct module_file parsed;
	size_t step = file.size / 4000 + 1;

	(void)state;
	for (size_t size = 0; size < file.size; size += size < 256 ? 1 : step)
		assert_int_equal(parse(file.data, size, &parsed), SIMPLER_EINVAL);
	if (file.size > 0)
		assert_int_equal(parse(file.data, file.size - 1, &parsed), SIMPLER_EINVAL);
	free(file.data);
}

/* No claim about the outcome but that there is one, with a status that is told about. */
static void any_changed_byte_is_survived(void **state)
{
	struct bytes file = read_module("twice");
	size_t first = section_header_at(&file, 0), callables = descriptor_at(&file, 0);
	struct module_file parsed;

	(void)state;
	for (size_t i = 0; i < file.size; i++) {
		bool read = i < sizeof(Elf64_Ehdr) || i >= first ||
		            (i >= callables && i < callables + 2 * sizeof(simpler_descriptor));

		if (!read)
			continue;
		for (unsigned change = 1; change < 256; change *= 2) {
			simpler_status status;

			file.data[i] ^= (uint8_t)change;
			status = module_file_parse(file.data, file.size, &parsed);
			assert_true(status == SIMPLER_OK || status == SIMPLER_EINVAL ||
			            status == SIMPLER_EVERSION);
			file.data[i] ^= (uint8_t)change;
		}
	}
	free(file.data);
}

enum place { ELF_HEADER, SECTION_HEADER, NAMES_HEADER, FIRST, SECOND };

static size_t position(const struct bytes *file, enum place place)
{
	switch (place) {
	case ELF_HEADER:
		return 0;
	case SECTION_HEADER:
		return section_header_at(file, find_section(file));
	case NAMES_HEADER:
		return section_header_at(file, header_of(file).e_shstrndx);
	case FIRST:
		return descriptor_at(file, 0);
	case SECOND:
		return descriptor_at(file, 1);
	}
	return 0;
}

#define ELF(member) ELF_HEADER, offsetof(Elf64_Ehdr, member), sizeof(((Elf64_Ehdr *)0)->member)
#define SECTION(member)                                                                            \
	SECTION_HEADER, offsetof(Elf64_Shdr, member), sizeof(((Elf64_Shdr *)0)->member)
#define NAMES(member) NAMES_HEADER, offsetof(Elf64_Shdr, member), sizeof(((Elf64_Shdr *)0)->member)
#define DESCRIPTOR(member)                                                                         \
	offsetof(simpler_descriptor, member), sizeof(((simpler_descriptor *)0)->member)
#define IDENT(index) ELF_HEADER, index, 1

static const struct {
	const char *name;
	enum place place;
	size_t offset, size;
	uint64_t value;
	simpler_status status;
	const char *says;
} changes[] = {
	{ "not ELF", IDENT(1), 'X', SIMPLER_EINVAL, "no ELF file" },
	{ "32-bit", IDENT(EI_CLASS), ELFCLASS32, SIMPLER_EINVAL, "class 1, this machine wants 2" },
	{ "big-endian", IDENT(EI_DATA), ELFDATA2MSB, SIMPLER_EINVAL, "byte order is 2" },
	{ "ELF version", IDENT(EI_VERSION), 2, SIMPLER_EINVAL, "ELF version" },
	{ "machine", ELF(e_machine), EM_S390, SIMPLER_EINVAL, "22 (s390), this machine wants" },
	{ "executable", ELF(e_type), ET_EXEC, SIMPLER_EINVAL, "type 2, not a shared object (3)" },
	{ "object file", ELF(e_type), ET_REL, SIMPLER_EINVAL, "-shared" },
	{ "no sections", ELF(e_shnum), 0, SIMPLER_EINVAL, "no section table" },
	{ "no table", ELF(e_shoff), 0, SIMPLER_EINVAL, "no section table" },
	{ "table on the header", ELF(e_shoff), 8, SIMPLER_EINVAL, "outside" },
	{ "table behind the end", ELF(e_shoff), UINT64_C(1) << 40, SIMPLER_EINVAL, "outside" },
	{ "table that wraps", ELF(e_shoff), UINT64_MAX - 63, SIMPLER_EINVAL, "outside" },
	{ "too many sections", ELF(e_shnum), 0xfeff, SIMPLER_EINVAL, "outside" },
	{ "other header size", ELF(e_shentsize), 40, SIMPLER_EINVAL, "of 40 bytes, not 64" },
	{ "names in no section", ELF(e_shstrndx), 0xfffe, SIMPLER_EINVAL, "section names" },
	{ "names no strings", NAMES(sh_type), SHT_PROGBITS, SIMPLER_EINVAL, "section names" },
	{ "names outside", NAMES(sh_offset), UINT64_MAX, SIMPLER_EINVAL, "section names" },
	{ "names too long", NAMES(sh_size), UINT64_MAX, SIMPLER_EINVAL, "section names" },
	{ "no names", NAMES(sh_size), 0, SIMPLER_EINVAL, "no callables" },
	{ "name outside", SECTION(sh_name), 0xffffffff, SIMPLER_EINVAL, "no callables" },
	{ "no bytes in the file", SECTION(sh_type), SHT_NOBITS, SIMPLER_EINVAL, "no bytes" },
	{ "descriptors outside", SECTION(sh_offset), UINT64_MAX - 7, SIMPLER_EINVAL, "no bytes" },
	{ "descriptors too long", SECTION(sh_size), UINT64_MAX, SIMPLER_EINVAL, "no bytes" },
	{ "no descriptors", SECTION(sh_size), 0, SIMPLER_EINVAL, "no callables" },
	{ "half a descriptor", SECTION(sh_size), 44, SIMPLER_EINVAL, "whole number" },
	{ "some bytes", SECTION(sh_size), 8, SIMPLER_EINVAL, "holds no descriptors" },
	{ "other magic", FIRST, DESCRIPTOR(magic), 1, SIMPLER_EINVAL, "holds no descriptors" },
	{ "later ABI", FIRST, DESCRIPTOR(abi), 7, SIMPLER_EVERSION, "ABI 7, this side has 1" },
	{ "mixed ABI", SECOND, DESCRIPTOR(abi), 7, SIMPLER_EINVAL, "descriptor 1 is damaged" },
	{ "other magic later", SECOND, DESCRIPTOR(magic), 1, SIMPLER_EINVAL, "is damaged" },
	{ "other size", FIRST, DESCRIPTOR(descriptor_size), 80, SIMPLER_EINVAL, "is damaged" },
	{ "reserved used", FIRST, DESCRIPTOR(reserved), 1, SIMPLER_EINVAL, "is damaged" },
	{ "kind 0", FIRST, DESCRIPTOR(kind), 0, SIMPLER_EINVAL, "unknown kind 0" },
	{ "kind 4", SECOND, DESCRIPTOR(kind), 4, SIMPLER_EINVAL, "unknown kind 4" },
	{ "empty name", FIRST, DESCRIPTOR(name), 0, SIMPLER_EINVAL, "no identifier" },
};

/* Write the low bytes of a value; fields of more than 8 bytes get only those. */
static void change(struct bytes *file, size_t at, size_t size, uint64_t value)
{
	for (size_t i = 0; i < size && i < 8; i++)
		file->data[at + i] = (uint8_t)(value >> (8 * i));
}

static void bad_files_are_refused_with_the_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct bytes file = read_module("twice");
		struct module_file parsed;
		simpler_status status;

		change(&file, position(&file, changes[i].place) + changes[i].offset,
		       changes[i].size, changes[i].value);
		status = parse(file.data, file.size, &parsed);
		if (status != changes[i].status)
			fail_msg("%s: %s", changes[i].name, simpler_status_name(status));
		if (!strstr(simpler_last_error(), changes[i].says))
			fail_msg("%s: %s", changes[i].name, simpler_last_error());
		free(file.data);
	}
}

static simpler_status parse_with_name(const char *bytes, size_t size)
{
	struct bytes file = read_module("twice");
	struct module_file parsed;
	simpler_status status;

	memcpy(file.data + descriptor_at(&file, 0) + offsetof(simpler_descriptor, name), bytes,
	       size);
	status = parse(file.data, file.size, &parsed);
	free(file.data);
	return status;
}

static void names_are_identifiers_that_end(void **state)
{
	char name[SIMPLER_NAME_MAX + 1];

	(void)state;
	assert_int_equal(parse_with_name("_A9", 4), SIMPLER_OK);
	assert_int_equal(parse_with_name("9a", 3), SIMPLER_EINVAL);
	assert_int_equal(parse_with_name("a b", 4), SIMPLER_EINVAL);
	assert_int_equal(parse_with_name("a\x80", 3), SIMPLER_EINVAL);
	assert_int_equal(parse_with_name("../x", 5), SIMPLER_EINVAL);
	memset(name, 'n', sizeof(name));
	assert_int_equal(parse_with_name(name, sizeof(name)), SIMPLER_EINVAL);
	name[SIMPLER_NAME_MAX] = '\0';
	assert_int_equal(parse_with_name(name, sizeof(name)), SIMPLER_OK);
}

static void a_name_is_declared_once(void **state)
{
	struct bytes file = read_module("twice");
	struct module_file parsed;

	(void)state;
	memcpy(file.data + descriptor_at(&file, 1), file.data + descriptor_at(&file, 0),
	       sizeof(simpler_descriptor));
	assert_int_equal(parse(file.data, file.size, &parsed), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "twice"));
	free(file.data);
}

static void there_is_one_section_of_descriptors(void **state)
{
	struct bytes file = read_module("twice");
	struct module_file parsed;
	size_t index = find_section(&file);

	(void)state;
	memcpy(file.data + section_header_at(&file, index - 1),
	       file.data + section_header_at(&file, index), sizeof(Elf64_Shdr));
	assert_int_equal(parse(file.data, file.size, &parsed), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "several sections"));
	free(file.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_module_lists_its_callables),
		cmocka_unit_test(descriptors_of_several_files_follow_each_other),
		cmocka_unit_test(finding_says_what_there_is),
		cmocka_unit_test(a_long_list_is_cut),
		cmocka_unit_test(a_shared_object_without_callables_is_no_module),
		cmocka_unit_test(no_prefix_of_a_module_is_one),
		cmocka_unit_test(any_changed_byte_is_survived),
		cmocka_unit_test(bad_files_are_refused_with_the_reason),
		cmocka_unit_test(names_are_identifiers_that_end),
		cmocka_unit_test(a_name_is_declared_once),
		cmocka_unit_test(there_is_one_section_of_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
