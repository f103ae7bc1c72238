/*
 * What module_needs_read() finds in modules that were built beside this test, and in the same with
 * some bytes changed.
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

#include "catalog/module_needs.h"
#include "catalog/module_read.h"
#include "test_modules.h"

struct file {
	uint8_t *bytes;
	size_t size;
};

static struct file read_file(const char *name)
{
	struct file file;
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/%s.so", TEST_MODULES_DIR, name);
	assert_int_equal(module_read(path, &file.bytes, &file.size), SIMPLER_OK);
	return file;
}

static bool has_library(const struct module_needs *needs, const char *name)
{
	for (size_t i = 0; i < needs->library_count; i++) {
		if (strcmp(needs->libraries[i], name) == 0)
			return true;
	}
	return false;
}

/* False if it is not among the undefined ones. */
static bool find_symbol(const struct module_needs *needs, const char *name,
                        struct module_symbol *out)
{
	size_t at = 0;

	while (module_needs_symbol(needs, &at, out)) {
		if (strcmp(out->name, name) == 0)
			return true;
	}
	return false;
}

static const struct {
	const char *module, *symbol;
	bool weak;
	const char *version, *library; /* NULL: none, and any */
} needed[] = {
	{ "needs_absent", "absent_function", false, "ABSENT_1.0", "libabsent.so.3" },
	{ "needs_future", "future_function", false, "GLIBC_9.99", "libc.so.6" },
	{ "needs_newer", "simpler_of_a_later_version", false, NULL, NULL },
	{ "needs_weak", "simpler_of_a_later_version", true, NULL, NULL },
	{ "undefined_symbol", "a_function_that_nobody_defines", false, NULL, NULL },
};

static void what_a_module_needs_is_told_before_it_is_loaded(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		struct file file = read_file(needed[i].module);
		struct module_needs needs;
		struct module_symbol symbol;

		assert_int_equal(module_needs_read(file.bytes, file.size, &needs), SIMPLER_OK);
		assert_true(find_symbol(&needs, needed[i].symbol, &symbol));
		assert_int_equal(symbol.weak, needed[i].weak);
		assert_int_equal(symbol.version != NULL, needed[i].version != NULL);
		if (symbol.version) {
			assert_string_equal(symbol.version->name, needed[i].version);
			assert_string_equal(symbol.version->library, needed[i].library);
			assert_true(has_library(&needs, needed[i].library));
		}
		free(file.bytes);
	}
}

static void what_a_module_has_it_does_not_need(void **state)
{
	struct file file = read_file("twice");
	struct module_needs needs;
	struct module_symbol symbol;

	(void)state;
	assert_int_equal(module_needs_read(file.bytes, file.size, &needs), SIMPLER_OK);
	assert_false(find_symbol(&needs, "simpler_entry_twice", &symbol));
	free(file.bytes);
}

static void where_libraries_are_looked_for_first_is_told(void **state)
{
	struct file with = read_file("needs_absent"), without = read_file("plain");
	struct module_needs needs;

	(void)state;
	assert_int_equal(module_needs_read(with.bytes, with.size, &needs), SIMPLER_OK);
	assert_non_null(needs.run_path);
	assert_non_null(strstr(needs.run_path, "$ORIGIN"));
	assert_int_equal(module_needs_read(without.bytes, without.size, &needs), SIMPLER_OK);
	assert_null(needs.run_path);
	free(with.bytes);
	free(without.bytes);
}

/* --- damaged files --- */

/* Reads a copy that ends where its memory ends, so that a byte too far is noticed, and all of it.
 */
static simpler_status read_copy(const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	struct module_needs needs;
	struct module_symbol symbol;
	simpler_status status;
	size_t at = 0, texts = 0;

	assert_non_null(copy);
	if (size)
		memcpy(copy, bytes, size);
	status = module_needs_read(copy, size, &needs);
	while (status == SIMPLER_OK && module_needs_symbol(&needs, &at, &symbol))
		texts += strlen(symbol.name) + (symbol.version ? strlen(symbol.version->name) : 0);
	assert_true(status == SIMPLER_OK || texts == 0);
	free(copy);
	return status;
}

static Elf64_Ehdr header_of(const struct file *file)
{
	Elf64_Ehdr elf;

	memcpy(&elf, file->bytes, sizeof(elf));
	return elf;
}

/* Where the program header of this type is. */
static size_t segment_at(const struct file *file, uint32_t type)
{
	Elf64_Ehdr elf = header_of(file);

	for (size_t i = 0; i < elf.e_phnum; i++) {
		size_t at = elf.e_phoff + i * sizeof(Elf64_Phdr);
		Elf64_Phdr segment;

		memcpy(&segment, file->bytes + at, sizeof(segment));
		if (segment.p_type == type)
			return at;
	}
	fail_msg("the test's module has no such segment");
	return 0;
}

/* The bytes of the dynamic section. */
static Elf64_Phdr dynamic_of(const struct file *file)
{
	Elf64_Phdr segment;

	memcpy(&segment, file->bytes + segment_at(file, PT_DYNAMIC), sizeof(segment));
	return segment;
}

/* Where the entry of the dynamic section with this tag is. */
static size_t entry_at(const struct file *file, int64_t tag)
{
	Elf64_Phdr dynamic = dynamic_of(file);

	for (size_t i = 0; i < dynamic.p_filesz / sizeof(Elf64_Dyn); i++) {
		size_t at = dynamic.p_offset + i * sizeof(Elf64_Dyn);
		Elf64_Dyn entry;

		memcpy(&entry, file->bytes + at, sizeof(entry));
		if (entry.d_tag == tag)
			return at;
	}
	fail_msg("the test's module has no entry %lld", (long long)tag);
	return 0;
}

enum place { ELF_HEADER, DYNAMIC_HEADER, ENTRY };

#define ELF(member)     ELF_HEADER, 0, offsetof(Elf64_Ehdr, member), sizeof(((Elf64_Ehdr *)0)->member)
#define DYNAMIC(member) DYNAMIC_HEADER, 0, offsetof(Elf64_Phdr, member), 8
#define ENTRY(tag)      ENTRY, tag, offsetof(Elf64_Dyn, d_un), 8
#define FAR             (UINT64_C(1) << 40)

static const struct {
	const char *name;
	enum place place;
	int64_t tag;
	size_t offset, size;
	uint64_t value;
	const char *says;
} changes[] = {
	{ "another machine", ELF(e_machine), EM_S390, "22 (s390), this machine wants" },
	{ "no program headers", ELF(e_phnum), 0, "no dynamic section" },
	{ "headers behind the end", ELF(e_phoff), FAR, "program headers" },
	{ "headers that wrap", ELF(e_phoff), UINT64_MAX - 55, "program headers" },
	{ "headers on the header", ELF(e_phoff), 8, "program headers" },
	{ "other header size", ELF(e_phentsize), 32, "program headers" },
	{ "dynamic section outside", DYNAMIC(p_offset), FAR, "no dynamic section" },
	{ "dynamic section too long", DYNAMIC(p_filesz), UINT64_MAX, "no dynamic section" },
	{ "names outside", ENTRY(DT_STRTAB), FAR, "table of names" },
	{ "names too long", ENTRY(DT_STRSZ), FAR, "table of names" },
	{ "no names", ENTRY(DT_STRSZ), 0, "name of a library" },
	{ "library outside", ENTRY(DT_NEEDED), FAR, "name of a library" },
	{ "empty library", ENTRY(DT_NEEDED), 0, "name of a library" },
	{ "path outside", ENTRY(DT_RUNPATH), FAR, "path of libraries" },
	{ "hashes outside", ENTRY(DT_GNU_HASH), FAR, "table of hashes" },
	{ "symbols outside", ENTRY(DT_SYMTAB), FAR, "table of symbols" },
	{ "versions of symbols outside", ENTRY(DT_VERSYM), FAR, "versions of symbols" },
	{ "versions outside", ENTRY(DT_VERNEED), FAR, "table of versions" },
	{ "too many versions", ENTRY(DT_VERNEEDNUM), FAR, "table of versions" },
};

static size_t position(const struct file *file, size_t change)
{
	size_t at = changes[change].offset;

	if (changes[change].place == DYNAMIC_HEADER)
		at += segment_at(file, PT_DYNAMIC);
	if (changes[change].place == ENTRY)
		at += entry_at(file, changes[change].tag);
	return at;
}

static void damaged_files_are_refused_with_the_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct file file = read_file("needs_absent");

		memcpy(file.bytes + position(&file, i), &changes[i].value, changes[i].size);
		if (read_copy(file.bytes, file.size) != SIMPLER_EINVAL)
			fail_msg("%s: accepted", changes[i].name);
		if (!strstr(simpler_last_error(), changes[i].says))
			fail_msg("%s: %s", changes[i].name, simpler_last_error());
		free(file.bytes);
	}
}

static void more_libraries_than_the_limit_are_refused(void **state)
{
	struct file file = read_file("needs_absent");
	size_t first = entry_at(&file, DT_NEEDED);
	Elf64_Phdr dynamic = dynamic_of(&file);
	const size_t count = MODULE_MAX_LIBRARIES + 1, old = dynamic.p_filesz;
	struct file grown = { malloc(file.size + old + count * sizeof(Elf64_Dyn)), file.size };

	(void)state;
	assert_non_null(grown.bytes);
	/* The dynamic section once more at the end, with the same library many times before it. */
	memcpy(grown.bytes, file.bytes, file.size);
	for (size_t i = 0; i < count; i++, grown.size += sizeof(Elf64_Dyn))
		memcpy(grown.bytes + grown.size, file.bytes + first, sizeof(Elf64_Dyn));
	memcpy(grown.bytes + grown.size, file.bytes + dynamic.p_offset, old);
	grown.size += old;
	dynamic.p_offset = file.size;
	dynamic.p_filesz = grown.size - file.size;
	memcpy(grown.bytes + segment_at(&file, PT_DYNAMIC), &dynamic, sizeof(dynamic));
	assert_int_equal(read_copy(grown.bytes, grown.size), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "more than 128 libraries"));
	free(grown.bytes);
	free(file.bytes);
}

static void any_prefix_of_a_module_is_survived(void **state)
{
	struct file file = read_file("needs_absent");
	size_t step = file.size / 4000 + 1;

	(void)state;
	for (size_t size = 0; size < file.size; size += size < 256 ? 1 : step) {
		simpler_status status = read_copy(file.bytes, size);

		assert_true(status == SIMPLER_OK || status == SIMPLER_EINVAL);
		assert_true(status == SIMPLER_EINVAL || size > dynamic_of(&file).p_offset);
	}
	free(file.bytes);
}

/* No claim about the outcome but that there is one, with a status that is told about. */
static void any_changed_byte_is_survived(void **state)
{
	struct file file = read_file("needs_absent");
	size_t step = file.size / 20000 + 1;

	(void)state;
	for (size_t i = 0; i < file.size; i += step) {
		for (unsigned change = 1; change < 256; change *= 4) {
			simpler_status status;

			file.bytes[i] ^= (uint8_t)change;
			status = read_copy(file.bytes, file.size);
			assert_true(status == SIMPLER_OK || status == SIMPLER_EINVAL);
			file.bytes[i] ^= (uint8_t)change;
		}
	}
	free(file.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_module_needs_is_told_before_it_is_loaded),
		cmocka_unit_test(what_a_module_has_it_does_not_need),
		cmocka_unit_test(where_libraries_are_looked_for_first_is_told),
		cmocka_unit_test(damaged_files_are_refused_with_the_reason),
		cmocka_unit_test(more_libraries_than_the_limit_are_refused),
		cmocka_unit_test(any_prefix_of_a_module_is_survived),
		cmocka_unit_test(any_changed_byte_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
