/* Any bytes are refused, or are what encoding their tree gives; and each part of it is a tree.
 * Seeds: make-ipc-seeds. */
#include <stdlib.h>
#include <string.h>

#include "wire/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t again[TREE_BYTES_MAX];
	static struct tree tree, part, decoded;
	uint32_t total = 0;

	if (tree_decode(data, size, &tree) != SIMPLER_OK)
		return 0;
	if (tree_encode(&tree, again, sizeof(again)) != size || memcmp(again, data, size) != 0)
		abort();
	for (uint32_t i = 0; i < tree.count; i++) {
		tree_subtree(&tree, i, &part);
		if (tree_decode(again, tree_encode(&part, again, sizeof(again)), &decoded) !=
		    SIMPLER_OK)
			abort();
		total += i > 0 && tree.nodes[i].level == tree.nodes[0].level - 1 ? part.count : 0;
	}
	/* The parts below the root are all but the root. */
	if (total != tree.count - 1)
		abort();
	return 0;
}
