/*
 * JSON to a stream, well-formed by construction: commas, quotes and escapes are put here, and the
 * caller gives values. What is opened is to be closed. Ends with a line feed.
 */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *stream;
	unsigned depth;
	bool follows; /* something stands before in the same object or array */
};

/* `name` is the member's inside of an object, NULL elsewhere. */
void json_open_object(struct json *json, const char *name);
void json_close_object(struct json *json);
void json_open_array(struct json *json, const char *name);
void json_close_array(struct json *json);
/* Any bytes: what is not UTF-8 is replaced, byte by byte, by U+FFFD. */
void json_string(struct json *json, const char *name, const char *text);
void json_number(struct json *json, const char *name, uint64_t value);
void json_bool(struct json *json, const char *name, bool value);
void json_null(struct json *json, const char *name);

#endif
