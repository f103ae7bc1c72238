/* A link that is taken away, in a network namespace that is the test's own (tests/e2e/cut_fabric).
 */
#ifndef SUPPORT_CUT_H
#define SUPPORT_CUT_H

/* Nothing arrives that is to or from this IPv4 address any more. Both end the program with a
 * message when they cannot. */
void cut_link(const char *address);
void cut_mend(void);

#endif
