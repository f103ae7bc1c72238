/* The tree of workers below a process: what goes in comes out, and what is no tree is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/tree.h"

static uint8_t bytes[TREE_BYTES_MAX + 1];
static struct tree out;

/*
 *            0: level 5
 *      1: level 4     2: level 4
 *      3: level 3     4, 5: level 3
 */
static struct tree family(void)
{
	struct tree tree = {
		.count = 6,
		.nodes = { { .level = 5, .sub_workers = 1, .first_child = 1, .child_count = 2 },
		           { .level = 4, .first_child = 3, .child_count = 1 },
		           { .level = 4, .sub_workers = 2, .first_child = 4, .child_count = 2 },
		           { .level = 3, .sub_workers = 200, .chips = 56, .device = "sim" },
		           { .level = 3, .chips = 1, .device = "./a/driver.so" },
		           { .level = 3 } },
	};

	for (uint32_t i = 0; i < tree.count; i++) {
		tree.nodes[i].heap_bytes = UINT64_MAX - i;
		tree.nodes[i].max_tasks = i + 1;
		tree.nodes[i].grace_ms = 1000 + i;
	}
	return tree;
}

static struct tree widest(void)
{
	struct tree tree = { .count = TREE_MAX_NODES };

	tree.nodes[0] = (struct tree_node){ .level = 4,
		                            .first_child = 1,
		                            .child_count = TREE_MAX_NODES - 1 };
	for (uint32_t i = 1; i < tree.count; i++)
		tree.nodes[i].level = 3;
	for (uint32_t i = 0; i < tree.count; i++)
		memset(tree.nodes[i].device, 'd', TREE_DEVICE_BYTES - 1);
	return tree;
}

static void assert_same_node(const struct tree_node *a, const struct tree_node *b)
{
	assert_int_equal(a->level, b->level);
	assert_int_equal(a->sub_workers, b->sub_workers);
	assert_int_equal(a->chips, b->chips);
	assert_int_equal(a->first_child, b->first_child);
	assert_int_equal(a->child_count, b->child_count);
	assert_string_equal(a->device, b->device);
	assert_true(a->heap_bytes == b->heap_bytes && a->grace_ms == b->grace_ms);
	assert_int_equal(a->max_tasks, b->max_tasks);
}

static void a_tree_comes_out_as_it_went_in(void **state)
{
	struct tree trees[] = { family(), widest(), { .count = 1, .nodes = { { .level = 3 } } } };

	(void)state;
	for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++) {
		size_t size = tree_encode(&trees[i], bytes, TREE_BYTES_MAX);

		assert_true(size > 0);
		assert_int_equal(tree_decode(bytes, size, &out), SIMPLER_OK);
		assert_int_equal(out.count, trees[i].count);
		for (uint32_t n = 0; n < out.count; n++)
			assert_same_node(&out.nodes[n], &trees[i].nodes[n]);
	}
}

static void a_tree_cut_anywhere_or_with_a_tail_is_refused(void **state)
{
	struct tree tree = family();
	size_t size = tree_encode(&tree, bytes, TREE_BYTES_MAX);

	(void)state;
	bytes[size] = 0;
	for (size_t cut = 0; cut <= size + 1; cut++) {
		uint8_t *exact = malloc(cut ? cut : 1);

		assert_non_null(exact);
		memcpy(exact, bytes, cut);
		assert_int_equal(tree_decode(exact, cut, &out),
		                 cut == size ? SIMPLER_OK : SIMPLER_EPROTOCOL);
		assert_int_equal(tree_encode(&tree, exact, cut), cut < size ? 0 : size);
		free(exact);
	}
}

static void what_is_no_tree_is_refused(void **state)
{
	static const struct {
		const char *name;
		uint32_t node;
		size_t field; /* a uint32_t of the node */
		uint32_t value;
		const char *message;
	} cases[] = {
#define FIELD(name) offsetof(struct tree_node, name)
		{ "a level too high", 0, FIELD(level), 6, "is 3 to 5" },
		{ "a level too low", 3, FIELD(level), 2, "is 3 to 5" },
		{ "a root two levels above", 2, FIELD(level), 3, "level 3 has workers" },
		{ "a grandchild of its parent's level", 3, FIELD(level), 4, "chips" },
		{ "an empty one of its parent's level", 5, FIELD(level), 4, "one level below" },
		{ "a child of the root's level", 1, FIELD(level), 5, "one level below" },
		{ "chips above level 3", 1, FIELD(chips), 1, "above level 3 has chips" },
		{ "workers below level 3", 5, FIELD(child_count), 1, "level 3 has workers" },
		{ "one child too many", 3, FIELD(sub_workers), 201, "more than 256 children" },
		{ "children that wrap", 3, FIELD(sub_workers), UINT32_MAX,
		  "more than 256 children" },
		{ "workers beyond counting", 1, FIELD(child_count), UINT32_MAX, "more than 256" },
		{ "a child that is not there", 2, FIELD(child_count), 3, "not there" },
		{ "an orphan", 2, FIELD(child_count), 1, "no parent" },
		{ "orphans that come early", 0, FIELD(child_count), 1, "out of order" },
		{ "no children of the root", 0, FIELD(child_count), 0, "names one" },
		{ "its own child", 0, FIELD(first_child), 0, "out of order" },
		{ "a child of two", 2, FIELD(first_child), 3, "out of order" },
		{ "a gap", 1, FIELD(first_child), 4, "out of order" },
		{ "a child far away", 1, FIELD(first_child), UINT32_MAX, "out of order" },
		{ "none, but named", 5, FIELD(first_child), 1, "names one" },
#undef FIELD
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tree tree = family();
		uint8_t *node = (uint8_t *)&tree.nodes[cases[i].node];
		size_t size = tree_encode(&tree, bytes, TREE_BYTES_MAX), at = 4;

		print_message("  %s\n", cases[i].name);
		/* Where the node is in the bytes: 20 of fields, its name, 20 of fields. */
		for (uint32_t n = 0; n < cases[i].node; n++)
			at += 20 + 1 + strlen(tree.nodes[n].device) + 20;
		assert_memory_equal(bytes + at + cases[i].field, node + cases[i].field, 4);
		memcpy(bytes + at + cases[i].field, &cases[i].value, 4);
		assert_int_equal(tree_decode(bytes, size, &out), SIMPLER_EPROTOCOL);
		if (!strstr(simpler_last_error(), cases[i].message))
			fail_msg("'%s' has no '%s'", simpler_last_error(), cases[i].message);
	}
}

/* What a decoder refuses of a message is refused of a program's own, but for what an encoder mends.
 */
static void a_tree_is_checked_before_it_is_sent(void **state)
{
	struct tree tree = family();

	(void)state;
	assert_int_equal(tree_check(&tree), SIMPLER_OK);
	tree.nodes[5].first_child = 6; /* of no children */
	assert_int_equal(tree_check(&tree), SIMPLER_OK);
	assert_int_equal(tree_decode(bytes, tree_encode(&tree, bytes, TREE_BYTES_MAX), &out),
	                 SIMPLER_OK);
	tree.nodes[3].sub_workers = 201;
	assert_int_equal(tree_check(&tree), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "a worker has more than 256 children"));
	tree.count = 0;
	assert_int_equal(tree_check(&tree), SIMPLER_EINVAL);
	tree.count = TREE_MAX_NODES + 1;
	assert_int_equal(tree_check(&tree), SIMPLER_EINVAL);
}

static void a_number_of_workers_that_cannot_be_is_refused(void **state)
{
	static const uint32_t counts[] = { 0, 2, 4, TREE_MAX_NODES + 1, UINT32_MAX };
	struct tree tree = { .count = 3,
		             .nodes = { { .level = 4, .first_child = 1, .child_count = 2 },
		                        { .level = 3 },
		                        { .level = 3 } } };
	size_t size = tree_encode(&tree, bytes, TREE_BYTES_MAX);

	(void)state;
	assert_int_equal(tree_decode(bytes, size, &out), SIMPLER_OK);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		memcpy(bytes, &counts[i], sizeof(counts[i]));
		assert_int_equal(tree_decode(bytes, size, &out), SIMPLER_EPROTOCOL);
	}
}

static void a_device_s_name_is_text(void **state)
{
	static const char *const names[] = { "a\nb", "\x1b[1m", "\x7f" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct tree tree = { .count = 1, .nodes = { { .level = 3, .chips = 1 } } };

		memcpy(tree.nodes[0].device, names[i], strlen(names[i]));
		assert_int_equal(
			tree_decode(bytes, tree_encode(&tree, bytes, TREE_BYTES_MAX), &out),
			SIMPLER_EPROTOCOL);
		assert_non_null(strstr(simpler_last_error(), "control characters"));
	}
}

static void a_subtree_is_a_tree_of_its_own(void **state)
{
	static const struct {
		uint32_t node, count;
		uint32_t nodes[6]; /* of family() */
		uint32_t root_first_child;
	} cases[] = {
		{ 0, 6, { 0, 1, 2, 3, 4, 5 }, 1 },
		{ 1, 2, { 1, 3 }, 1 },
		{ 2, 3, { 2, 4, 5 }, 1 },
		{ 3, 1, { 3 }, 0 },
		{ 5, 1, { 5 }, 0 },
	};
	struct tree tree = family(), part;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tree_subtree(&tree, cases[i].node, &part);
		assert_int_equal(part.count, cases[i].count);
		assert_int_equal(part.nodes[0].first_child, cases[i].root_first_child);
		for (uint32_t n = 0; n < part.count; n++)
			assert_int_equal(part.nodes[n].max_tasks, cases[i].nodes[n] + 1);
		assert_int_equal(
			tree_decode(bytes, tree_encode(&part, bytes, TREE_BYTES_MAX), &out),
			SIMPLER_OK);
	}
	tree = widest();
	tree_subtree(&tree, 0, &part);
	assert_int_equal(part.count, TREE_MAX_NODES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_comes_out_as_it_went_in),
		cmocka_unit_test(a_tree_cut_anywhere_or_with_a_tail_is_refused),
		cmocka_unit_test(what_is_no_tree_is_refused),
		cmocka_unit_test(a_tree_is_checked_before_it_is_sent),
		cmocka_unit_test(a_number_of_workers_that_cannot_be_is_refused),
		cmocka_unit_test(a_device_s_name_is_text),
		cmocka_unit_test(a_subtree_is_a_tree_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
