/* A module that declares what it does not have. */
#include <simpler/module.h>

__attribute__((section("simpler_callables"), SIMPLER_MODULE_KEEP_,
               aligned(8))) static const simpler_descriptor nowhere = {
	"simpler", (uint32_t)sizeof(simpler_descriptor), SIMPLER_CALLABLE_ABI, SIMPLER_KIND_SUB, 0,
	"nowhere"
};
