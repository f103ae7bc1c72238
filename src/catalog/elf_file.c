#include "catalog/elf_file.h"

#include "base/error.h"

/* Only little-endian 64-bit machines: fields are used as they were copied. */
#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
#define MACHINE EM_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define MACHINE EM_RISCV
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define MACHINE EM_PPC64
#else
#error "add this machine's ELF number, if it is 64-bit and little-endian"
#endif

static const char *machine_name(unsigned machine)
{
	switch (machine) {
	case EM_386:
		return "i386";
	case EM_ARM:
		return "arm";
	case EM_X86_64:
		return "x86-64";
	case EM_AARCH64:
		return "aarch64";
	case EM_RISCV:
		return "riscv";
	case EM_PPC64:
		return "ppc64";
	case EM_S390:
		return "s390";
	default:
		return "another";
	}
}

static simpler_status check_identity(const Elf64_Ehdr *elf)
{
	const unsigned char *ident = elf->e_ident;

	if (ident[EI_CLASS] != ELFCLASS64)
		return error_raise(SIMPLER_EINVAL,
		                   "the module is of ELF class %u, this machine wants %u, 64-bit; "
		                   "build it for this machine",
		                   ident[EI_CLASS], ELFCLASS64);
	if (ident[EI_DATA] != ELFDATA2LSB)
		return error_raise(SIMPLER_EINVAL,
		                   "the module's byte order is %u, this machine wants %u, "
		                   "little-endian; build it for this machine",
		                   ident[EI_DATA], ELFDATA2LSB);
	if (ident[EI_VERSION] != EV_CURRENT || elf->e_version != EV_CURRENT)
		return error_raise(SIMPLER_EINVAL, "the module's ELF version is not 1");
	return SIMPLER_OK;
}

static simpler_status check_header(const Elf64_Ehdr *elf)
{
	simpler_status status = check_identity(elf);

	if (status)
		return status;
	if (elf->e_machine != MACHINE)
		return error_raise(SIMPLER_EINVAL,
		                   "the module is for machine %u (%s), this machine wants %u (%s); "
		                   "build it for this machine",
		                   elf->e_machine, machine_name(elf->e_machine), MACHINE,
		                   machine_name(MACHINE));
	if (elf->e_type != ET_DYN)
		return error_raise(SIMPLER_EINVAL,
		                   "the module is of ELF type %u, not a shared object (%u); "
		                   "link it with -shared",
		                   elf->e_type, ET_DYN);
	return SIMPLER_OK;
}

simpler_status elf_read_header(const struct elf_view *file, Elf64_Ehdr *elf)
{
	if (!elf_copy_out(file, 0, elf->e_ident, sizeof(elf->e_ident)) ||
	    memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0)
		return error_raise(SIMPLER_EINVAL,
		                   "this is no ELF file; a module is a shared object that "
		                   "cc -shared -fPIC made");
	if (!elf_copy_out(file, 0, elf, sizeof(*elf)))
		return error_raise(SIMPLER_EINVAL, "the module ends within its ELF header");
	return check_header(elf);
}
