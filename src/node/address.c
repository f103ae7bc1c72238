#include "node/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UNIX_PREFIX   "unix:"
#define UNIX_PATH_MAX 107 /* sizeof(sockaddr_un.sun_path), less the terminator */
#define HOST_MAX      253

const char *address_unix_path(const char *text)
{
	size_t prefix = sizeof(UNIX_PREFIX) - 1;

	return strncmp(text, UNIX_PREFIX, prefix) == 0 ? text + prefix : NULL;
}

static bool is_port(const char *text)
{
	uint32_t value = 0;
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 5 || text[digits] != '\0')
		return false;
	for (size_t i = 0; i < digits; i++)
		value = value * 10 + (uint32_t)(text[i] - '0');
	return value <= UINT16_MAX;
}

static bool is_host_name(const char *host)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_";

	return host[0] != '\0' && host[0] != '-' && host[strspn(host, allowed)] == '\0';
}

static enum address_reach classify_v6(const char *host)
{
	struct in6_addr parsed;

	if (inet_pton(AF_INET6, host, &parsed) != 1)
		return ADDRESS_INVALID;
	return IN6_IS_ADDR_LOOPBACK(&parsed) ? ADDRESS_LOCAL : ADDRESS_OTHERS;
}

static enum address_reach classify_host(const char *host)
{
	struct in_addr parsed;

	if (inet_pton(AF_INET, host, &parsed) == 1)
		return ntohl(parsed.s_addr) >> 24 == 127 ? ADDRESS_LOCAL : ADDRESS_OTHERS;
	if (!is_host_name(host))
		return ADDRESS_INVALID;
	return strcmp(host, "localhost") == 0 ? ADDRESS_LOCAL : ADDRESS_OTHERS;
}

enum address_reach address_classify_number(const char *text)
{
	struct in_addr parsed;

	return inet_pton(AF_INET, text, &parsed) == 1 ? classify_host(text) : classify_v6(text);
}

enum address_reach address_classify(const char *text)
{
	const char *path = address_unix_path(text), *colon = strrchr(text, ':');
	bool bracketed = text[0] == '[';
	char host[HOST_MAX + 1];
	size_t size;

	if (path)
		return path[0] == '/' && strlen(path) <= UNIX_PATH_MAX ? ADDRESS_LOCAL
		                                                       : ADDRESS_INVALID;
	if (!colon || !is_port(colon + 1))
		return ADDRESS_INVALID;
	if (bracketed && (colon == text + 1 || colon[-1] != ']'))
		return ADDRESS_INVALID;
	size = (size_t)(colon - text) - (bracketed ? 2 : 0);
	if (size == 0 || size > HOST_MAX)
		return ADDRESS_INVALID;
	memcpy(host, text + (bracketed ? 1 : 0), size);
	host[size] = '\0';
	return bracketed ? classify_v6(host) : classify_host(host);
}
