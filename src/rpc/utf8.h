/* UTF-8 of strings that come from or go to other processes. */
#ifndef RPC_UTF8_H
#define RPC_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the sequence at `bytes`, of which `left` may be read; 0 when it is not valid. */
size_t utf8_sequence(const uint8_t *bytes, size_t left);
bool utf8_valid(const char *text);
/* Replace what is not UTF-8 by '?', and control characters but tab and line feed by a space. */
void utf8_clean(char *text);

#endif
