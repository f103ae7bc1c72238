/*
 * An ordered set of half-open intervals that finds all that overlap a given one.
 *
 * A treap: a search tree by (start, end, tag) and at the same time a heap by a random priority,
 * which keeps it balanced in expectation. Each node knows the greatest end below it, so whole
 * subtrees that lie before the wanted interval are skipped. The nodes are the caller's; nothing is
 * allocated here. Two nodes may be equal.
 *
 * Insert, remove and find cost O(log n); walking k overlapping nodes costs O(k + log n) or so.
 */
#ifndef DAG_INTERVAL_H
#define DAG_INTERVAL_H

#include <stdint.h>

struct interval {
	struct interval *parent, *child[2];
	uint64_t start, end; /* start < end; none of these to change while in a tree */
	uint64_t tag;      /* the caller's, to tell equal intervals apart; set before the insert */
	uint64_t max_end;  /* of this node and all below it */
	uint32_t priority; /* the caller's random number, set before the insert */
};

void interval_insert(struct interval **root, struct interval *node);
void interval_remove(struct interval **root, struct interval *node);

/* A node that is exactly [start, end) with this tag, or NULL. */
struct interval *interval_find(struct interval *root, uint64_t start, uint64_t end, uint64_t tag);

/* The first node in order that overlaps [start, end), and the one after `node`. NULL at the end.
 * A caller may remove `node` itself, once it has asked for the one after it. */
struct interval *interval_first(struct interval *root, uint64_t start, uint64_t end);
struct interval *interval_next(struct interval *node, uint64_t start, uint64_t end);

#endif
