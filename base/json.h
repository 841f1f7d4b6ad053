/* JSON for programs that read what we print, made with cJSON. Most of them read numbers as doubles,
 * which hold whole numbers up to 2^53 exactly: a larger one (a timestamp, some ids) is printed as a
 * string of its digits, so that nobody gets another number than was meant.
 *
 * `parent` is an object, or an array with `name` NULL. Names must outlive nothing: they are copied.
 * Running out of memory ends the process, as everywhere. */
#ifndef FLOTILLA_BASE_JSON_H
#define FLOTILLA_BASE_JSON_H

#include <cjson/cJSON.h>

#include "base/slice.h"

/* The largest whole number below which every whole number is a double. */
#define JSON_NUMBER_MAX (UINT64_C(1) << 53)

cJSON *json_object(void); /* to be printed */
cJSON *json_add_object(cJSON *parent, const char *name);
cJSON *json_add_array(cJSON *parent, const char *name);
void json_add_u64(cJSON *parent, const char *name, uint64_t value);
void json_add_i64(cJSON *parent, const char *name, int64_t value);
void json_add_decimal(cJSON *parent, const char *name, double value, unsigned decimals);
void json_add_bool(cJSON *parent, const char *name, bool value);
void json_add_null(cJSON *parent, const char *name);
void json_add_text(cJSON *parent, const char *name, const char *text); /* UTF-8 */
/* Bytes that need not be UTF-8: any but printable ASCII, and the backslash, becomes \xHH. */
void json_add_escaped(cJSON *parent, const char *name, struct slice bytes);
void json_add_hex(cJSON *parent, const char *name, struct slice bytes); /* 616263 */
/* A user's bytes under `name` as they are when they are UTF-8 without NUL, else (or when `hex`)
 * under `<name>_hex` in hexadecimal: each name has one meaning. */
void json_add_bytes(cJSON *object, const char *name, struct slice bytes, bool hex);

/* Valid UTF-8 without NUL. */
bool json_is_text(struct slice bytes);

/* On one line, without its end; frees the object. */
void json_print_take(struct buf *out, cJSON *object);

#endif
