/* The file that tells others where a daemon listens: the address and a line feed. */
#ifndef NODE_PORT_FILE_H
#define NODE_PORT_FILE_H

#include "simpler/status.h"

/* Whoever sees the file sees all of it. A regular file that was there is replaced;
 * anything else, such as a device or a directory, is an error. */
simpler_status port_file_write(const char *path, const char *address);

#endif
