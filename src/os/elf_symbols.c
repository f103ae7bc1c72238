#include "os/elf_symbols.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define OUR_DATA ELFDATA2LSB
#else
#define OUR_DATA ELFDATA2MSB
#endif
#define OUR_CLASS (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)

struct file {
	const uint8_t *bytes;
	size_t size;
	ElfW(Ehdr) header;
};

/* NULL if the range is not all inside. */
static const uint8_t *range(const struct file *file, uint64_t offset, uint64_t size)
{
	if (offset > file->size || size > file->size - offset)
		return NULL;
	return file->bytes + offset;
}

/* What is in the file may lie anywhere in it, aligned or not: it is copied. */
static bool get_section(const struct file *file, size_t index, ElfW(Shdr) * out)
{
	const uint8_t *found = NULL;

	if (index < file->header.e_shnum && file->header.e_shoff <= file->size)
		found = range(file, file->header.e_shoff + index * sizeof(*out), sizeof(*out));
	if (found)
		memcpy(out, found, sizeof(*out));
	return found != NULL;
}

static bool open_file(const void *bytes, size_t size, struct file *out)
{
	const ElfW(Ehdr) *header = &out->header;

	out->bytes = bytes;
	out->size = size;
	if (size < sizeof(out->header))
		return false;
	memcpy(&out->header, bytes, sizeof(out->header));
	return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
	       header->e_ident[EI_CLASS] == OUR_CLASS && header->e_ident[EI_DATA] == OUR_DATA &&
	       header->e_shentsize == sizeof(ElfW(Shdr));
}

static bool find_section(const struct file *file, uint32_t type, ElfW(Shdr) * out)
{
	for (size_t i = 0; get_section(file, i, out); i++) {
		if (out->sh_type == type)
			return true;
	}
	return false;
}

static bool is_function(const ElfW(Sym) * symbol)
{
	unsigned type = symbol->st_info & 0xf; /* as ELF32_ST_TYPE and ELF64_ST_TYPE have it */

	return (type == STT_FUNC || type == STT_GNU_IFUNC) && symbol->st_shndx != SHN_UNDEF;
}

/* Of several names for the same code the first is taken. */
static bool search(const struct file *file, const ElfW(Shdr) * table, uint64_t address,
                   ElfW(Sym) * out)
{
	const uint8_t *symbols = range(file, table->sh_offset, table->sh_size);

	if (!symbols || table->sh_entsize != sizeof(*out))
		return false;
	for (uint64_t i = 0; i < table->sh_size / sizeof(*out); i++) {
		memcpy(out, symbols + i * sizeof(*out), sizeof(*out));
		if (is_function(out) && address >= out->st_value &&
		    address - out->st_value < out->st_size)
			return true;
	}
	return false;
}

static const char *get_name(const struct file *file, const ElfW(Shdr) * table, uint64_t offset)
{
	ElfW(Shdr) strings;
	const uint8_t *bytes;

	if (!get_section(file, table->sh_link, &strings))
		return NULL;
	bytes = range(file, strings.sh_offset, strings.sh_size);
	if (!bytes || offset >= strings.sh_size ||
	    !memchr(bytes + offset, '\0', strings.sh_size - offset))
		return NULL;
	return (const char *)bytes + offset;
}

bool elf_symbol_find(const void *bytes, size_t size, uint64_t address, const char **name,
                     uint64_t *offset)
{
	static const uint32_t tables[] = { SHT_SYMTAB, SHT_DYNSYM };
	struct file file;

	if (!open_file(bytes, size, &file))
		return false;
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		ElfW(Shdr) table;
		ElfW(Sym) symbol;

		if (!find_section(&file, tables[i], &table) ||
		    !search(&file, &table, address, &symbol))
			continue;
		*name = get_name(&file, &table, symbol.st_name);
		*offset = address - symbol.st_value;
		if (*name && **name)
			return true;
	}
	return false;
}
