#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

static cJSON *made(cJSON *item) {
    if (!item) fatal("out of memory");
    return item;
}

static cJSON *add(cJSON *parent, const char *name, cJSON *item) {
    bool added = name ? cJSON_AddItemToObject(parent, name, made(item))
                      : cJSON_AddItemToArray(parent, made(item));
    if (!added) fatal("out of memory");
    return item;
}

cJSON *json_object(void) {
    return made(cJSON_CreateObject());
}

cJSON *json_add_object(cJSON *parent, const char *name) {
    return add(parent, name, cJSON_CreateObject());
}

cJSON *json_add_array(cJSON *parent, const char *name) {
    return add(parent, name, cJSON_CreateArray());
}

/* The digits, not cJSON's double: it would write 1e+15. */
static void add_digits(cJSON *parent, const char *name, const char *digits, bool is_exact) {
    add(parent, name, is_exact ? cJSON_CreateRaw(digits) : cJSON_CreateString(digits));
}

void json_add_u64(cJSON *parent, const char *name, uint64_t value) {
    char digits[24];
    snprintf(digits, sizeof(digits), "%" PRIu64, value);
    add_digits(parent, name, digits, value <= JSON_NUMBER_MAX);
}

void json_add_i64(cJSON *parent, const char *name, int64_t value) {
    char digits[24];
    const int64_t max = (int64_t)JSON_NUMBER_MAX;
    snprintf(digits, sizeof(digits), "%" PRId64, value);
    add_digits(parent, name, digits, value >= -max && value <= max);
}

void json_add_decimal(cJSON *parent, const char *name, double value, unsigned decimals) {
    char digits[400]; /* a double has up to 309 digits before the point */
    snprintf(digits, sizeof(digits), "%.*f", (int)decimals, value);
    add(parent, name, cJSON_CreateRaw(digits));
}

void json_add_bool(cJSON *parent, const char *name, bool value) {
    add(parent, name, cJSON_CreateBool(value));
}

void json_add_null(cJSON *parent, const char *name) {
    add(parent, name, cJSON_CreateNull());
}

void json_add_text(cJSON *parent, const char *name, const char *text) {
    add(parent, name, cJSON_CreateString(text));
}

static void add_buf_take(cJSON *parent, const char *name, struct buf *text) {
    buf_append_byte(text, 0);
    json_add_text(parent, name, (const char *)text->data);
    buf_done(text);
}

void json_add_escaped(cJSON *parent, const char *name, struct slice bytes) {
    struct buf text = {0};
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t byte = bytes.data[i];
        if (byte < 0x20 || byte > 0x7e || byte == '"' || byte == '\\')
            buf_printf(&text, "\\x%02x", byte);
        else
            buf_append_byte(&text, byte);
    }
    add_buf_take(parent, name, &text);
}

void json_add_hex(cJSON *parent, const char *name, struct slice bytes) {
    struct buf text = {0};
    for (size_t i = 0; i < bytes.len; i++)
        buf_printf(&text, "%02x", bytes.data[i]);
    add_buf_take(parent, name, &text);
}

bool json_is_text(struct slice bytes) {
    size_t at = 0;
    while (at < bytes.len) {
        uint32_t code_point;
        size_t len = slice_decode_utf8(slice_make(bytes.data + at, bytes.len - at), &code_point);
        if (len == 0 || bytes.data[at] == 0) return false;
        at += len;
    }
    return true;
}

void json_add_bytes(cJSON *object, const char *name, struct slice bytes, bool hex) {
    struct buf text = {0};
    if (hex || !json_is_text(bytes)) {
        char hex_name[64];
        int len = snprintf(hex_name, sizeof(hex_name), "%s_hex", name);
        ASSERT(len > 0 && (size_t)len < sizeof(hex_name));
        json_add_hex(object, hex_name, bytes);
        return;
    }
    buf_append(&text, bytes);
    add_buf_take(object, name, &text);
}

void json_print_take(struct buf *out, cJSON *object) {
    char *text = cJSON_PrintUnformatted(object);
    if (!text) fatal("out of memory");
    buf_append(out, slice_from_text(text));
    cJSON_free(text);
    cJSON_Delete(object);
}
