#include "dag/interval.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

static void update_max_end(struct interval *node)
{
	node->max_end = node->end;
	for (int side = 0; side < 2; side++) {
		if (node->child[side] && node->child[side]->max_end > node->max_end)
			node->max_end = node->child[side]->max_end;
	}
}

/* Where `node` hangs. */
static struct interval **link_of(struct interval **root, struct interval *node)
{
	struct interval *parent = node->parent;

	return parent ? &parent->child[parent->child[1] == node] : root;
}

/* Swap `node` with its parent, keeping the order. */
static void rotate_up(struct interval **root, struct interval *node)
{
	struct interval *parent = node->parent;
	int side = parent->child[1] == node;
	struct interval *inner = node->child[!side];

	*link_of(root, parent) = node;
	node->parent = parent->parent;
	node->child[!side] = parent;
	parent->parent = node;
	parent->child[side] = inner;
	if (inner)
		inner->parent = parent;
	update_max_end(parent);
	update_max_end(node);
}

static bool goes_before(const struct interval *node, uint64_t start, uint64_t end, uint64_t tag)
{
	if (start != node->start)
		return start < node->start;
	return end != node->end ? end < node->end : tag < node->tag;
}

void interval_insert(struct interval **root, struct interval *node)
{
	struct interval **link = root;
	struct interval *parent = NULL;

	assert(node->start < node->end);
	while (*link) {
		parent = *link;
		if (parent->max_end < node->end)
			parent->max_end = node->end;
		link = &parent->child[!goes_before(parent, node->start, node->end, node->tag)];
	}
	*link = node;
	node->parent = parent;
	node->child[0] = node->child[1] = NULL;
	node->max_end = node->end;
	while (node->parent && node->parent->priority < node->priority)
		rotate_up(root, node);
}

void interval_remove(struct interval **root, struct interval *node)
{
	struct interval *left, *right, *above;

	while ((left = node->child[0]), (right = node->child[1]), left || right) {
		bool take_right = !left || (right && right->priority > left->priority);

		rotate_up(root, take_right ? right : left);
	}
	*link_of(root, node) = NULL;
	for (above = node->parent; above; above = above->parent)
		update_max_end(above);
}

struct interval *interval_find(struct interval *root, uint64_t start, uint64_t end, uint64_t tag)
{
	struct interval *node = root;

	while (node && (node->start != start || node->end != end || node->tag != tag))
		node = node->child[!goes_before(node, start, end, tag)];
	return node;
}

/*
 * The first overlapping node below `node`. Among the nodes that end after `start`, the leftmost is
 * the only candidate: if it begins too late, so do all to its right.
 */
static struct interval *first_below(struct interval *node, uint64_t start, uint64_t end)
{
	while (node && node->max_end > start) {
		struct interval *left = node->child[0];

		if (left && left->max_end > start) {
			node = left;
			continue;
		}
		if (node->start >= end)
			return NULL;
		if (node->end > start)
			return node;
		node = node->child[1];
	}
	return NULL;
}

struct interval *interval_first(struct interval *root, uint64_t start, uint64_t end)
{
	return first_below(root, start, end);
}

struct interval *interval_next(struct interval *node, uint64_t start, uint64_t end)
{
	struct interval *right = node->child[1];

	if (right && right->max_end > start)
		return first_below(right, start, end);
	for (;;) {
		struct interval *below = node;

		node = node->parent;
		if (!node)
			return NULL;
		if (node->child[1] == below)
			continue;
		if (node->start >= end)
			return NULL;
		if (node->end > start)
			return node;
		if (node->child[1] && node->child[1]->max_end > start)
			return first_below(node->child[1], start, end);
	}
}
