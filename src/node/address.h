/* Where a daemon listens: "host:port", "[v6]:port" or "unix:/path". Pure functions over the text.
 */
#ifndef NODE_ADDRESS_H
#define NODE_ADDRESS_H

#include <stdbool.h>

enum address_reach {
	ADDRESS_INVALID,
	ADDRESS_LOCAL,  /* this machine only: 127.0.0.0/8, [::1], localhost, unix: */
	ADDRESS_OTHERS, /* other machines may reach it */
};

enum address_reach address_classify(const char *text);
/* The same for an address in numbers, without a port. */
enum address_reach address_classify_number(const char *text);
/* The path of "unix:/path", or NULL for another form. Points into `text`. */
const char *address_unix_path(const char *text);

#endif
