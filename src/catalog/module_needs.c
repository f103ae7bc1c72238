/*
 * The dynamic section tells where things are as addresses in memory, once the file is loaded; the
 * loadable segments tell which of its bytes will be there. Sections are not looked at: the dynamic
 * loader does not, either.
 *
 * The number of symbols is told nowhere. It is where the last chain of hashes ends; symbols that
 * are only used stand before all chains. Without a chain none are seen, but a module has at least
 * one symbol for others, its callable's entry.
 */
#include "catalog/module_needs.h"

#include "base/error.h"
#include "catalog/elf_file.h"

struct dynamic {
	struct elf_view file;
	Elf64_Ehdr elf;
	struct elf_view entries; /* of Elf64_Dyn */
};

/* --- where things are --- */

static bool segment_at(const struct dynamic *dynamic, size_t index, Elf64_Phdr *out)
{
	return index < dynamic->elf.e_phnum &&
	       elf_copy_out(&dynamic->file, dynamic->elf.e_phoff + index * sizeof(*out), out,
	                    sizeof(*out));
}

/* What the file has from an address to the end of its segment. */
static bool at_address(const struct dynamic *dynamic, uint64_t address, struct elf_view *out)
{
	Elf64_Phdr segment;

	for (size_t i = 0; segment_at(dynamic, i, &segment); i++) {
		uint64_t into = address - segment.p_vaddr;

		if (segment.p_type != PT_LOAD || address < segment.p_vaddr ||
		    into >= segment.p_filesz)
			continue;
		if (!elf_holds(&dynamic->file, segment.p_offset, segment.p_filesz))
			return false;
		out->bytes = dynamic->file.bytes + segment.p_offset + into;
		out->size = (size_t)(segment.p_filesz - into);
		return true;
	}
	return false;
}

static simpler_status find_dynamic(struct dynamic *dynamic)
{
	Elf64_Phdr segment;
	const Elf64_Ehdr *elf = &dynamic->elf;

	if (elf->e_phentsize != sizeof(segment) || elf->e_phoff < sizeof(*elf) ||
	    !elf_holds(&dynamic->file, elf->e_phoff, (uint64_t)elf->e_phnum * sizeof(segment)))
		return error_raise(SIMPLER_EINVAL,
		                   "the module's program headers lie outside of its %zu bytes; the "
		                   "file is cut short or damaged",
		                   dynamic->file.size);
	for (size_t i = 0; segment_at(dynamic, i, &segment); i++) {
		if (segment.p_type != PT_DYNAMIC)
			continue;
		if (!elf_holds(&dynamic->file, segment.p_offset, segment.p_filesz))
			break;
		dynamic->entries.bytes = dynamic->file.bytes + segment.p_offset;
		dynamic->entries.size = (size_t)segment.p_filesz;
		return SIMPLER_OK;
	}
	return error_raise(SIMPLER_EINVAL,
	                   "the module has no dynamic section; link it with -shared");
}

static bool entry_at(const struct dynamic *dynamic, size_t index, Elf64_Dyn *out)
{
	return elf_copy_out(&dynamic->entries, index * sizeof(*out), out, sizeof(*out)) &&
	       out->d_tag != DT_NULL;
}

/* The value of the last entry with this tag, as the dynamic loader has it. */
static bool find_value(const struct dynamic *dynamic, int64_t tag, uint64_t *out)
{
	bool found = false;
	Elf64_Dyn entry;

	for (size_t i = 0; entry_at(dynamic, i, &entry); i++) {
		if (entry.d_tag != tag)
			continue;
		*out = entry.d_un.d_val;
		found = true;
	}
	return found;
}

static simpler_status damaged(const char *what)
{
	return error_raise(SIMPLER_EINVAL,
	                   "the module's %s lies outside of its file, which is cut short or "
	                   "damaged",
	                   what);
}

/* The table that an entry of the dynamic section points to. An empty view: it has none. */
static simpler_status find_table(const struct dynamic *dynamic, int64_t tag, const char *what,
                                 struct elf_view *out)
{
	uint64_t address = 0;

	*out = (struct elf_view){ NULL, 0 };
	if (!find_value(dynamic, tag, &address) || at_address(dynamic, address, out))
		return SIMPLER_OK;
	return damaged(what);
}

/* --- texts --- */

static simpler_status find_strings(const struct dynamic *dynamic, struct module_needs *out)
{
	struct elf_view table;
	uint64_t size = 0;
	simpler_status status = find_table(dynamic, DT_STRTAB, "table of names", &table);

	if (status)
		return status;
	(void)find_value(dynamic, DT_STRSZ, &size);
	if (size > table.size)
		return damaged("table of names");
	out->strings = table.bytes;
	out->strings_size = (size_t)size;
	return SIMPLER_OK;
}

/* NULL when it is not all in the table, is empty, or goes on for too long. */
static const char *text_at(const struct module_needs *needs, uint64_t offset)
{
	const char *text;
	size_t left;

	if (offset >= needs->strings_size)
		return NULL;
	text = (const char *)needs->strings + offset;
	left = needs->strings_size - (size_t)offset;
	if (!memchr(text, '\0', left < MODULE_MAX_TEXT ? left : MODULE_MAX_TEXT))
		return NULL;
	return text[0] ? text : NULL;
}

/* --- libraries --- */

static simpler_status add_library(struct module_needs *out, uint64_t offset)
{
	const char *name = text_at(out, offset);

	if (!name)
		return damaged("name of a library");
	if (out->library_count == MODULE_MAX_LIBRARIES)
		return error_raise(SIMPLER_EINVAL, "the module needs more than %d libraries",
		                   MODULE_MAX_LIBRARIES);
	out->libraries[out->library_count++] = name;
	return SIMPLER_OK;
}

static simpler_status find_libraries(const struct dynamic *dynamic, struct module_needs *out)
{
	simpler_status status = SIMPLER_OK;
	Elf64_Dyn entry;
	uint64_t offset = 0;

	for (size_t i = 0; !status && entry_at(dynamic, i, &entry); i++) {
		if (entry.d_tag == DT_NEEDED)
			status = add_library(out, entry.d_un.d_val);
	}
	if (!status &&
	    (find_value(dynamic, DT_RUNPATH, &offset) || find_value(dynamic, DT_RPATH, &offset))) {
		out->run_path = text_at(out, offset);
		if (!out->run_path)
			status = damaged("path of libraries");
	}
	return status;
}

/* --- versions --- */

static simpler_status add_version(struct module_needs *out, const char *library,
                                  const Elf64_Vernaux *version)
{
	const char *name = text_at(out, version->vna_name);

	if (!library || !name)
		return damaged("name of a version");
	if (out->version_count == MODULE_MAX_VERSIONS)
		return error_raise(SIMPLER_EINVAL,
		                   "the module needs symbols of more than %d versions",
		                   MODULE_MAX_VERSIONS);
	out->versions[out->version_count++] =
		(struct module_version){ name, library, version->vna_other };
	return SIMPLER_OK;
}

/* All versions that are needed of one library, from `at` on. */
static simpler_status add_versions(struct module_needs *out, const struct elf_view *table,
                                   uint64_t at, const Elf64_Verneed *library)
{
	const char *name = text_at(out, library->vn_file);
	simpler_status status = SIMPLER_OK;
	Elf64_Vernaux version = { .vna_next = library->vn_aux };

	/* Each adds one, so that a list in a circle ends at the limit. */
	for (uint32_t i = 0; !status && i < library->vn_cnt && version.vna_next; i++) {
		at += version.vna_next;
		if (!elf_copy_out(table, at, &version, sizeof(version)))
			return damaged("table of versions");
		status = add_version(out, name, &version);
	}
	return status;
}

static simpler_status find_versions(const struct dynamic *dynamic, struct module_needs *out)
{
	struct elf_view table;
	Elf64_Verneed library = { .vn_next = 0 };
	uint64_t count = 0, at = 0;
	simpler_status status = find_table(dynamic, DT_VERNEED, "table of versions", &table);

	(void)find_value(dynamic, DT_VERNEEDNUM, &count);
	if (!table.bytes || count > MODULE_MAX_LIBRARIES)
		return status ? status : table.bytes ? damaged("table of versions") : SIMPLER_OK;
	for (uint64_t i = 0; !status && i < count; i++) {
		at += library.vn_next;
		if (!elf_copy_out(&table, at, &library, sizeof(library)))
			return damaged("table of versions");
		status = add_versions(out, &table, at, &library);
	}
	return status;
}

static const struct module_version *version_of(const struct module_needs *needs, size_t symbol)
{
	uint16_t number;

	if (!needs->symbol_versions)
		return NULL;
	memcpy(&number, needs->symbol_versions + symbol * sizeof(number), sizeof(number));
	for (size_t i = 0; i < needs->version_count; i++) {
		if (needs->versions[i].number == number)
			return &needs->versions[i];
	}
	return NULL;
}

/* --- symbols --- */

/* One past the last symbol of the chain that begins at `symbol`; 0 if it does not end. */
static uint64_t chain_end(const struct elf_view *table, uint64_t chains, uint64_t symbol,
                          uint64_t first)
{
	uint32_t hash;

	while (elf_copy_out(table, chains + (symbol - first) * sizeof(hash), &hash, sizeof(hash))) {
		symbol++;
		if (hash & 1)
			return symbol;
	}
	return 0;
}

/* Four numbers: of buckets, of the first symbol in a chain, of words in the filter, and a shift.
 * Then the filter, the buckets, and the chains. */
static bool count_gnu(const struct elf_view *table, uint64_t *count)
{
	uint32_t head[4], bucket, last = 0;
	uint64_t buckets, chains;

	if (!elf_copy_out(table, 0, head, sizeof(head)))
		return false;
	buckets = sizeof(head) + (uint64_t)head[2] * sizeof(uint64_t);
	chains = buckets + (uint64_t)head[0] * sizeof(bucket);
	for (uint64_t at = buckets; at < chains; at += sizeof(bucket)) {
		if (!elf_copy_out(table, at, &bucket, sizeof(bucket)))
			return false;
		last = bucket > last ? bucket : last;
	}
	if (last > 0 && last < head[1])
		return false;
	*count = last == 0 ? head[1] : chain_end(table, chains, last, head[1]);
	return *count > 0;
}

/* The older kind has one link for each symbol, and tells their number in its second word. */
static bool count_old(const struct elf_view *table, uint64_t *count)
{
	uint32_t head[2];

	if (!elf_copy_out(table, 0, head, sizeof(head)))
		return false;
	*count = head[1];
	return true;
}

static simpler_status count_symbols(const struct dynamic *dynamic, uint64_t *count)
{
	struct elf_view gnu, old;
	simpler_status status = find_table(dynamic, DT_GNU_HASH, "table of hashes", &gnu);

	if (!status)
		status = find_table(dynamic, DT_HASH, "table of hashes", &old);
	if (status)
		return status;
	if (gnu.bytes ? count_gnu(&gnu, count) : old.bytes && count_old(&old, count))
		return SIMPLER_OK;
	return damaged("table of hashes");
}

static Elf64_Sym symbol_at(const struct module_needs *needs, size_t index)
{
	Elf64_Sym symbol;

	memcpy(&symbol, needs->symbols + index * sizeof(symbol), sizeof(symbol));
	return symbol;
}

/* The first symbol is none, by definition. */
static bool is_needed(const Elf64_Sym *symbol, size_t index)
{
	return index > 0 && symbol->st_shndx == SHN_UNDEF &&
	       ELF64_ST_BIND(symbol->st_info) != STB_LOCAL;
}

static simpler_status check_names(const struct module_needs *needs)
{
	for (size_t i = 0; i < needs->symbol_count; i++) {
		Elf64_Sym symbol = symbol_at(needs, i);

		if (is_needed(&symbol, i) && !text_at(needs, symbol.st_name))
			return damaged("name of a symbol");
	}
	return SIMPLER_OK;
}

static simpler_status find_symbols(const struct dynamic *dynamic, struct module_needs *out)
{
	struct elf_view symbols, versions;
	uint64_t count = 0;
	simpler_status status = count_symbols(dynamic, &count);

	if (!status)
		status = find_table(dynamic, DT_SYMTAB, "table of symbols", &symbols);
	if (!status)
		status = find_table(dynamic, DT_VERSYM, "versions of symbols", &versions);
	if (status)
		return status;
	if (count > symbols.size / sizeof(Elf64_Sym))
		return damaged("table of symbols");
	if (versions.bytes && count > versions.size / sizeof(Elf64_Half))
		return damaged("versions of symbols");
	out->symbols = symbols.bytes;
	out->symbol_versions = versions.bytes;
	out->symbol_count = (size_t)count;
	return check_names(out);
}

simpler_status module_needs_read(const void *bytes, size_t size, struct module_needs *out)
{
	struct dynamic dynamic = { .file = { bytes, size } };
	simpler_status status = elf_read_header(&dynamic.file, &dynamic.elf);

	memset(out, 0, sizeof(*out));
	if (!status)
		status = find_dynamic(&dynamic);
	if (!status)
		status = find_strings(&dynamic, out);
	if (!status)
		status = find_libraries(&dynamic, out);
	if (!status)
		status = find_versions(&dynamic, out);
	if (!status)
		status = find_symbols(&dynamic, out);
	return status;
}

bool module_needs_symbol(const struct module_needs *needs, size_t *at, struct module_symbol *out)
{
	while (*at < needs->symbol_count) {
		size_t index = (*at)++;
		Elf64_Sym symbol = symbol_at(needs, index);

		if (!is_needed(&symbol, index))
			continue;
		out->name = text_at(needs, symbol.st_name);
		out->version = version_of(needs, index);
		out->weak = ELF64_ST_BIND(symbol.st_info) == STB_WEAK;
		return true;
	}
	return false;
}
