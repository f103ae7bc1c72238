/* A module with an indirect function whose resolver, which runs before any constructor, crashes. */
#include <simpler/module.h>

typedef simpler_status answer_function(void);

/* Compilers do not all see that it is used, by its name. */
__attribute__((used)) static answer_function *resolve_answer(void)
{
	__builtin_trap();
}

__attribute__((ifunc("resolve_answer"))) simpler_status answer(void);

static simpler_status answering(const simpler_args *args, simpler_bytes state)
{
	(void)args;
	(void)state;
	return answer();
}
SIMPLER_SUB(answering);
