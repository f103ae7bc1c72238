/* What a set of epoll's watches, for a library's that does not tell of the sockets in it. */
#ifndef OS_WATCHED_H
#define OS_WATCHED_H

/* Shut down the connections by IP that `set` watches, and those that sets in it do: both ends find
 * the end of what was sent. None where /proc does not tell of them. */
void watched_shut_connections(int set);

#endif
