/*
 * For the author of a module: a C file whose functions run on nodes.
 *
 *     #include <simpler/module.h>
 *
 *     static simpler_status add(const simpler_args *args, simpler_bytes state) { ... }
 *     SIMPLER_SUB(add);
 *
 * Build it with nothing but these headers: cc -shared -fPIC -o sum.so sum.c. The simpler_ functions
 * it calls are found in the process that loads it; do not link libsimpler.
 *
 * Each declaration puts a descriptor into the section "simpler_callables": fixed-size text and no
 * pointer, so that the module can be read, checked and listed without running any of it. It is
 * also what fixes the signature: a function of another type does not compile.
 *
 * A name is 1 to 63 bytes. An exported variable simpler_entry_NAME holds the function's address,
 * so the function itself may be static.
 */
#ifndef SIMPLER_MODULE_H
#define SIMPLER_MODULE_H

#include "simpler/callable.h"
#include "simpler/log.h"
#include "simpler/orch.h"
#include "simpler/version.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SIMPLER_NAME_MAX 63

/** What stands in the section, one for each callable; all of it little-endian. */
typedef struct simpler_descriptor {
	char magic[8];            /**< "simpler" and a zero */
	uint32_t descriptor_size; /**< sizeof(simpler_descriptor) */
	uint32_t abi;             /**< SIMPLER_CALLABLE_ABI it was compiled against */
	uint32_t kind;            /**< simpler_kind */
	uint32_t reserved;        /**< 0 */
	char name[SIMPLER_NAME_MAX + 1];
} simpler_descriptor;

#if defined(__cplusplus)
#define SIMPLER_MODULE_EXTERN extern "C"
/* C++ refuses the wrong function type by itself; in C it would be no more than a warning. */
#define SIMPLER_MODULE_CHECK_(function_type, function)
#else
#define SIMPLER_MODULE_EXTERN extern
#define SIMPLER_MODULE_CHECK_(function_type, function)                                             \
	_Static_assert(_Generic(&function, function_type * : 1, default : 0),                      \
	               #function " does not have the type " #function_type);
#endif

/* Keep the descriptors when a module is linked with --gc-sections: no code refers to them. */
#define SIMPLER_MODULE_KEEP_ used
#if defined(__has_attribute)
#if __has_attribute(retain)
#undef SIMPLER_MODULE_KEEP_
#define SIMPLER_MODULE_KEEP_ used, retain
#endif
#endif

#define SIMPLER_DECLARE_(kind_value, function_type, function)                                      \
	SIMPLER_MODULE_CHECK_(function_type, function)                                             \
	__attribute__((                                                                            \
		section("simpler_callables"), SIMPLER_MODULE_KEEP_,                                \
		aligned(8))) static const simpler_descriptor simpler_descriptor_##function = {     \
		"simpler",                                                                         \
		(uint32_t)sizeof(simpler_descriptor),                                              \
		SIMPLER_CALLABLE_ABI,                                                              \
		kind_value,                                                                        \
		0,                                                                                 \
		#function                                                                          \
	};                                                                                         \
	SIMPLER_MODULE_EXTERN SIMPLER_API function_type *const simpler_entry_##function;           \
	function_type *const simpler_entry_##function = function

/** Declare a function as a sub task, an orchestration function or a chip kernel, once each. */
#define SIMPLER_SUB(function)  SIMPLER_DECLARE_(SIMPLER_KIND_SUB, simpler_sub_function, function)
#define SIMPLER_ORCH(function) SIMPLER_DECLARE_(SIMPLER_KIND_ORCH, simpler_orch_function, function)
#define SIMPLER_CHIP(function) SIMPLER_DECLARE_(SIMPLER_KIND_CHIP, simpler_chip_function, function)

#ifdef __cplusplus
}
#endif

#endif
