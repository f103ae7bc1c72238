#include "json.h"

#include <inttypes.h>
#include <string.h>

#include "rpc/utf8.h"

static void put_escaped(FILE *stream, unsigned char byte)
{
	if (byte == '"' || byte == '\\')
		(void)fputc('\\', stream);
	if (byte < 0x20 || byte == 0x7f)
		(void)fprintf(stream, "\\u%04x", byte);
	else
		(void)fputc(byte, stream);
}

static void put_string(FILE *stream, const char *text)
{
	const uint8_t *bytes = (const uint8_t *)text;
	size_t left = strlen(text);

	(void)fputc('"', stream);
	while (left > 0) {
		size_t size = utf8_sequence(bytes, left);

		if (size == 1)
			put_escaped(stream, *bytes);
		else if (size > 1)
			(void)fwrite(bytes, 1, size, stream);
		else
			(void)fputs("\\ufffd", stream);
		size = size ? size : 1;
		bytes += size;
		left -= size;
	}
	(void)fputc('"', stream);
}

/* What stands before a value: the comma behind the last one, a line of its own, the name. */
static void begin(struct json *json, const char *name)
{
	if (json->follows)
		(void)fputc(',', json->stream);
	if (json->depth > 0)
		(void)fprintf(json->stream, "\n%*s", (int)(2 * json->depth), "");
	json->follows = true;
	if (!name)
		return;
	put_string(json->stream, name);
	(void)fputs(": ", json->stream);
}

static void open_level(struct json *json, const char *name, char bracket)
{
	begin(json, name);
	(void)fputc(bracket, json->stream);
	json->depth++;
	json->follows = false;
}

static void close_level(struct json *json, char bracket)
{
	json->depth--;
	if (json->follows)
		(void)fprintf(json->stream, "\n%*s", (int)(2 * json->depth), "");
	(void)fputc(bracket, json->stream);
	json->follows = true;
	if (json->depth == 0)
		(void)fputc('\n', json->stream);
}

void json_open_object(struct json *json, const char *name)
{
	open_level(json, name, '{');
}

void json_close_object(struct json *json)
{
	close_level(json, '}');
}

void json_open_array(struct json *json, const char *name)
{
	open_level(json, name, '[');
}

void json_close_array(struct json *json)
{
	close_level(json, ']');
}

void json_string(struct json *json, const char *name, const char *text)
{
	begin(json, name);
	put_string(json->stream, text);
}

void json_number(struct json *json, const char *name, uint64_t value)
{
	begin(json, name);
	(void)fprintf(json->stream, "%" PRIu64, value);
}

void json_bool(struct json *json, const char *name, bool value)
{
	begin(json, name);
	(void)fputs(value ? "true" : "false", json->stream);
}

void json_null(struct json *json, const char *name)
{
	begin(json, name);
	(void)fputs("null", json->stream);
}
