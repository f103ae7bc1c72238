#include "chaos_graph.h"

#include "chaos_mix.h"

#define COUNT_MOST 4096u

uint64_t chaos_draw(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

static uint32_t below(uint64_t *random, uint32_t limit)
{
	return (uint32_t)((chaos_draw(random) >> 32) % limit);
}

/* One of the parent's, or now and then the one stored where the task goes. */
static uint32_t draw_tensor(const struct chaos_step *step, uint64_t *random)
{
	if (step->where < CHAOS_NODES && below(random, 3) == 0)
		return CHAOS_HERE + step->where;
	return below(random, CHAOS_HERE);
}

static void draw_step(struct chaos_step *step, uint64_t *random)
{
	static const uint32_t places[] = { 0, 1, 2, CHAOS_LOCAL, CHAOS_ANY, CHAOS_ANY };

	step->kind = (enum chaos_kind)below(random, CHAOS_KINDS);
	step->where = step->kind == CHAOS_SUB
	                      ? CHAOS_ANY
	                      : places[below(random, sizeof(places) / sizeof(places[0]))];
	step->out = draw_tensor(step, random);
	do {
		step->a = draw_tensor(step, random);
	} while (step->a == step->out);
	do {
		step->b = draw_tensor(step, random);
	} while (step->b == step->out);
	step->salt = chaos_draw(random);
	step->keep = below(random, 2) == 0;
	step->inlined = below(random, 4) == 0;
	step->transport = below(random, UINT32_MAX);
}

void chaos_graph_draw(struct chaos_graph *graph, uint64_t *random)
{
	graph->count = 1 + below(random, COUNT_MOST);
	graph->steps = 8 + below(random, CHAOS_STEPS - 7);
	for (uint32_t i = 0; i < graph->steps; i++)
		draw_step(&graph->step[i], random);
}

void chaos_fill(int64_t *tensor, uint64_t count, uint32_t index)
{
	for (uint64_t i = 0; i < count; i++)
		tensor[i] = (int64_t)(i * 1000003 + index);
}

void chaos_graph_evaluate(const struct chaos_graph *graph, int64_t *const tensors[CHAOS_TENSORS],
                          int64_t *scratch)
{
	for (uint32_t i = 0; i < graph->steps; i++) {
		const struct chaos_step *step = &graph->step[i];
		const int64_t *a = tensors[step->a];

		if (step->kind == CHAOS_DEEP) {
			chaos_mix(scratch, a, tensors[step->b], graph->count, step->salt, 0, 0, 1);
			a = scratch;
		}
		chaos_mix(tensors[step->out], a, tensors[step->b], graph->count, step->salt,
		          step->keep, 0, 1);
	}
}
