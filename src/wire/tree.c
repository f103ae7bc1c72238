#include "wire/tree.h"

#include "wire/cursor.h"

static void put_node(struct writer *writer, const struct tree_node *node)
{
	size_t device = strlen(node->device);
	uint32_t first_child = node->child_count > 0 ? node->first_child : 0;

	put(writer, &node->level, sizeof(node->level));
	put(writer, &node->sub_workers, sizeof(node->sub_workers));
	put(writer, &node->chips, sizeof(node->chips));
	put(writer, &first_child, sizeof(first_child));
	put(writer, &node->child_count, sizeof(node->child_count));
	put_byte(writer, device);
	put(writer, node->device, device);
	put(writer, &node->heap_bytes, sizeof(node->heap_bytes));
	put(writer, &node->max_tasks, sizeof(node->max_tasks));
	put(writer, &node->grace_ms, sizeof(node->grace_ms));
}

size_t tree_encode(const struct tree *tree, void *bytes, size_t capacity)
{
	struct writer writer = write_to(bytes, capacity);

	assert(tree->count > 0 && tree->count <= TREE_MAX_NODES);
	put(&writer, &tree->count, sizeof(tree->count));
	for (uint32_t i = 0; i < tree->count; i++)
		put_node(&writer, &tree->nodes[i]);
	return written(&writer);
}

static bool has_control_characters(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return true;
	}
	return false;
}

/* What is wrong with a node, its place in the tree aside; NULL if nothing is. */
static const char *flaw_of_node(const struct tree_node *node)
{
	if (node->level < TREE_MIN_LEVEL || node->level > TREE_MAX_LEVEL)
		return "the level of a worker below is 3 to 5";
	if (node->chips > 0 && node->level != TREE_MIN_LEVEL)
		return "a worker above level 3 has chips";
	if (node->child_count > 0 && node->level == TREE_MIN_LEVEL)
		return "a worker of level 3 has workers below it";
	/* As 64 bits, so that the sum cannot wrap. */
	if ((uint64_t)node->sub_workers + node->chips + node->child_count > TREE_MAX_CHILDREN)
		return "a worker has more than 256 children";
	return has_control_characters(node->device) ? "a device's name has control characters"
	                                            : NULL;
}

static const char *flaw_of_levels(const struct tree *tree, const struct tree_node *parent)
{
	for (uint32_t i = 0; i < parent->child_count; i++) {
		if (tree->nodes[parent->first_child + i].level != parent->level - 1)
			return "a worker is not one level below its parent";
	}
	return NULL;
}

/* Whether the blocks of children are all nodes but the first, in order, each behind its parent. */
static const char *flaw_of_shape(const struct tree *tree)
{
	uint32_t next = 1;

	for (uint32_t i = 0; i < tree->count; i++) {
		const struct tree_node *node = &tree->nodes[i];
		const char *flaw;

		if (i >= next)
			return "a worker has no parent before it";
		if (node->child_count > 0 && node->first_child != next)
			return "its workers are out of order";
		if (node->child_count > tree->count - next)
			return "a worker has children that are not there";
		flaw = flaw_of_levels(tree, node);
		if (flaw)
			return flaw;
		next += node->child_count;
	}
	return NULL;
}

static const char *flaw_of(const struct tree *tree)
{
	if (tree->count == 0 || tree->count > TREE_MAX_NODES)
		return "it has no workers, or more than 64";
	for (uint32_t i = 0; i < tree->count; i++) {
		const char *flaw = flaw_of_node(&tree->nodes[i]);

		if (flaw)
			return flaw;
	}
	return flaw_of_shape(tree);
}

simpler_status tree_check(const struct tree *tree)
{
	const char *flaw = flaw_of(tree);

	return flaw ? error_raise(SIMPLER_EINVAL, "there cannot be such a tree of workers: %s",
	                          flaw)
	            : SIMPLER_OK;
}

static simpler_status get_node(struct reader *reader, struct tree_node *out)
{
	simpler_status status;

	get(reader, &out->level, sizeof(out->level));
	get(reader, &out->sub_workers, sizeof(out->sub_workers));
	get(reader, &out->chips, sizeof(out->chips));
	get(reader, &out->first_child, sizeof(out->first_child));
	get(reader, &out->child_count, sizeof(out->child_count));
	status = get_string(reader, "a tree", TREE_DEVICE_BYTES - 1, out->device);
	get(reader, &out->heap_bytes, sizeof(out->heap_bytes));
	get(reader, &out->max_tasks, sizeof(out->max_tasks));
	get(reader, &out->grace_ms, sizeof(out->grace_ms));
	if (status == SIMPLER_OK && out->child_count == 0 && out->first_child != 0)
		status = malformed("a tree", "a worker without workers below it names one");
	return status;
}

simpler_status tree_decode(const void *bytes, size_t size, struct tree *out)
{
	struct reader reader = read_from(bytes, size);
	const char *flaw;
	simpler_status status;

	get(&reader, &out->count, sizeof(out->count));
	if (out->count == 0 || out->count > TREE_MAX_NODES)
		return malformed("a tree", "it has no workers, or more than 64");
	for (uint32_t i = 0; i < out->count; i++) {
		status = get_node(&reader, &out->nodes[i]);
		if (status != SIMPLER_OK)
			return status;
	}
	status = get_end(&reader, "a tree");
	if (status != SIMPLER_OK)
		return status;
	flaw = flaw_of(out);
	return flaw ? malformed("a tree", flaw) : SIMPLER_OK;
}

void tree_subtree(const struct tree *tree, uint32_t node, struct tree *out)
{
	assert(node < tree->count && tree->count <= TREE_MAX_NODES && out != tree);
	out->count = 1;
	out->nodes[0] = tree->nodes[node];
	/* A node that is copied still names its children in `tree`; once they are copied, too, it
	 * names them here. */
	for (uint32_t i = 0; i < out->count; i++) {
		struct tree_node *parent = &out->nodes[i];
		uint32_t first = parent->first_child;

		assert(parent->child_count <= TREE_MAX_NODES - out->count);
		parent->first_child = parent->child_count > 0 ? out->count : 0;
		for (uint32_t child = 0; child < parent->child_count; child++)
			out->nodes[out->count++] = tree->nodes[first + child];
	}
}
