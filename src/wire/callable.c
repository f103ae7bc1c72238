#include "simpler/callable.h"

const char *simpler_kind_name(simpler_kind kind)
{
	switch (kind) {
	case SIMPLER_KIND_SUB:
		return "sub task";
	case SIMPLER_KIND_ORCH:
		return "orchestration function";
	case SIMPLER_KIND_CHIP:
		return "chip kernel";
	}
	return "unknown kind";
}
