/*
 * Addresses as people write them: "host:port", "[v6]:port", "unix:/path".
 *
 * gRPC binds what it is told and says only that it failed. It also unlinks a unix socket without
 * asking whether somebody listens there. So whether an address is free, and why it is not, is
 * found out here.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "rpc/core.h"

#define HOW_TO_WRITE "write \"host:port\", \"[v6]:port\" or \"unix:/path\""

static const char *unix_path(const char *address)
{
	static const char prefix[] = "unix:";

	return strncmp(address, prefix, sizeof(prefix) - 1) == 0 ? address + sizeof(prefix) - 1
	                                                         : NULL;
}

static bool port_valid(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits > 0 && digits <= 5 && text[digits] == '\0' && strtol(text, NULL, 10) <= 65535;
}

/* Split at the last colon; brackets around a v6 address are taken off. */
static bool split(const char *address, char host[CORE_ADDRESS_MAX], const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t size = colon ? (size_t)(colon - address) : 0;

	if (size == 0 || size >= CORE_ADDRESS_MAX || !port_valid(colon + 1))
		return false;
	if (address[0] == '[') {
		if (size < 3 || address[size - 1] != ']')
			return false;
		address++;
		size -= 2;
	} else if (memchr(address, ':', size)) {
		return false;
	}
	memcpy(host, address, size);
	host[size] = '\0';
	*port = colon + 1;
	return true;
}

simpler_status core_address_check(const char *address)
{
	const char *path = unix_path(address), *port;
	char host[CORE_ADDRESS_MAX];

	if (path) {
		if (path[0] == '\0' || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
			return error_raise(SIMPLER_EINVAL,
			                   "the path of '%s' must have 1 to %zu bytes", address,
			                   sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
		return SIMPLER_OK;
	}
	/* Room for the brackets as a URI writes them and for five digits of a port. */
	if (strlen(address) > CORE_ADDRESS_MAX - 32 || !split(address, host, &port))
		return error_raise(SIMPLER_EINVAL, "'%s' is no address; " HOW_TO_WRITE, address);
	return SIMPLER_OK;
}

/* 0 when somebody accepts connections there, else why not. */
static int unix_connect(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), error;

	if (fd < 0)
		return errno;
	memcpy(name.sun_path, path, strlen(path) + 1);
	error = connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0 ? 0 : errno;
	close(fd);
	return error;
}

/* Remove what a listener that died left behind, but nothing that is no socket. */
static simpler_status remove_dead(const char *address, const char *path)
{
	struct stat found;

	if (lstat(path, &found) == 0 && S_ISSOCK(found.st_mode) && unlink(path) != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, errno,
		                         "cannot remove the dead socket of '%s'", address);
	return SIMPLER_OK;
}

simpler_status core_address_claim(const char *address)
{
	const char *path = unix_path(address);
	int error = path ? unix_connect(path) : ENOENT;

	if (error == ENOENT)
		return SIMPLER_OK;
	if (error == ECONNREFUSED)
		return remove_dead(address, path);
	/* A full backlog belongs to somebody, too. */
	if (error == 0 || error == EAGAIN)
		return error_raise(SIMPLER_EEXIST,
		                   "somebody listens on '%s'; stop it or choose another address",
		                   address);
	return error_raise_errno(SIMPLER_ESYSTEM, error, "cannot listen on '%s'", address);
}

static int try_bind(const struct addrinfo *info)
{
	int fd = socket(info->ai_family, info->ai_socktype, info->ai_protocol), on = 1, error = 0;

	if (fd < 0)
		return errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, 1) != 0)
		error = errno;
	close(fd);
	return error;
}

static int try_unix_bind(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	struct addrinfo info = { .ai_family = AF_UNIX,
		                 .ai_socktype = SOCK_STREAM,
		                 .ai_addr = (struct sockaddr *)&name,
		                 .ai_addrlen = sizeof(name) };
	int error;

	memcpy(name.sun_path, path, strlen(path) + 1);
	error = try_bind(&info);
	if (error == 0)
		unlink(path);
	return error;
}

static simpler_status explain(const char *address, int error)
{
	if (error == EADDRINUSE)
		return error_raise(SIMPLER_EEXIST,
		                   "'%s' is taken: somebody else is there; stop it or choose "
		                   "another address",
		                   address);
	return error_raise_errno(SIMPLER_ESYSTEM, error ? error : EADDRNOTAVAIL,
	                         "cannot listen on '%s'", address);
}

simpler_status core_address_explain(const char *address)
{
	struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *found;
	const char *path = unix_path(address), *port;
	char host[CORE_ADDRESS_MAX];
	int error = 0;

	if (path)
		return explain(address, try_unix_bind(path));
	if (!split(address, host, &port) || getaddrinfo(host, port, &hints, &found) != 0)
		return error_raise(SIMPLER_EINVAL, "cannot resolve the host of '%s'", address);
	for (struct addrinfo *each = found; each && error == 0; each = each->ai_next)
		error = try_bind(each);
	freeaddrinfo(found);
	return explain(address, error);
}

void core_address_with_port(const char *address, int port, char out[CORE_ADDRESS_MAX])
{
	if (unix_path(address))
		snprintf(out, CORE_ADDRESS_MAX, "%s", address);
	else
		snprintf(out, CORE_ADDRESS_MAX, "%.*s:%d", (int)(strrchr(address, ':') - address),
		         address, port);
}

void core_address_target(const char *address, char out[CORE_ADDRESS_MAX])
{
	const char *port;
	char host[CORE_ADDRESS_MAX];

	if (unix_path(address)) {
		snprintf(out, CORE_ADDRESS_MAX, "%s", address);
		return;
	}
	/* With its scheme, so that a host is never taken for one; a URI wants brackets encoded. */
	if (address[0] == '[' && split(address, host, &port))
		snprintf(out, CORE_ADDRESS_MAX, "dns:///%%5B%.400s%%5D:%s", host, port);
	else
		snprintf(out, CORE_ADDRESS_MAX, "dns:///%s", address);
}

bool core_peer_is_local(const char *peer)
{
	/* The last is how an IPv6 socket sees an IPv4 loopback address; "%5B" is "[". */
	static const char *const own[] = {
		"unix:", "ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "ipv6:%5B::ffff:127.",
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		if (strncmp(peer, own[i], strlen(own[i])) == 0)
			return true;
	}
	return false;
}
