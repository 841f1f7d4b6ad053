#include "cmd/write_parts.h"

#include <ctype.h>

#include "base/assert.h"
#include "cmd/kv.h"

static const struct {
    const char *option, *notation;
} notations[] = {
    {"guard", "exists KEY, absent KEY, equals KEY VALUE, version KEY N, unchanged KEY [END] N"},
    {"put", "KEY VALUE"},
    {"insert", "KEY VALUE"},
    {"delete", "KEY"},
    {"add", "KEY DELTA [min N] [max N]"},
};

struct reader {
    struct write_parts *parts;
    const char *option, *text; /* of the part that is read */
    const char *at;            /* the rest of it */
    bool hex;
    struct buf *error;
};

static bool refuse(const struct reader *in, const char *problem) {
    const char *notation = "";
    for (size_t i = 0; i < sizeof(notations) / sizeof(notations[0]); i++)
        if (strcmp(notations[i].option, in->option) == 0) notation = notations[i].notation;
    buf_printf(in->error, "--%s '%s': %s; write --%s '%s'", in->option, in->text, problem,
               in->option, notation);
    return false;
}

static struct slice keep(const struct reader *in, struct slice bytes) {
    uint8_t *copy = arena_alloc(&in->parts->arena, bytes.len + 1); /* one, that it is not NULL */
    if (bytes.len > 0) memcpy(copy, bytes.data, bytes.len);
    return slice_make(copy, bytes.len);
}

/* ---- words ---- */

static void skip_blanks(struct reader *in) {
    while (*in->at == ' ' || *in->at == '\t')
        in->at++;
}

static bool at_end(struct reader *in) {
    skip_blanks(in);
    return *in->at == 0;
}

/* Up to the next blank. Empty: there is none. */
static struct slice take_word(struct reader *in) {
    skip_blanks(in);
    const char *start = in->at;
    in->at += strcspn(start, " \t");
    return slice_make(start, (size_t)(in->at - start));
}

static bool word_is(struct slice word, const char *text) {
    return slice_equal(word, slice_from_text(text));
}

/* The byte that an escape stands for, behind its backslash; advances over it. */
static bool take_escape(struct reader *in, struct buf *out) {
    char c = *in->at;
    if (c == '"' || c == '\\') {
        buf_append_byte(out, (uint8_t)c);
        in->at++;
        return true;
    }
    if (c != 'x' || !isxdigit((unsigned char)in->at[1]) || !isxdigit((unsigned char)in->at[2]))
        return refuse(in, "in quotes a backslash begins \\\", \\\\ or \\xHH");
    bool right = kv_parse_hex(slice_make(in->at + 1, 2), out);
    in->at += 3;
    return right;
}

static bool take_quoted(struct reader *in, struct slice *ret_key) {
    struct buf key = {0};
    bool right = true;
    in->at++;
    while (right && *in->at != '"') {
        if (!*in->at) {
            right = refuse(in, "a quote is not closed");
        } else if (*in->at == '\\') {
            in->at++;
            right = take_escape(in, &key);
        } else {
            buf_append_byte(&key, (uint8_t)*in->at++);
        }
    }
    if (right) {
        in->at++;
        right = strchr(" \t", *in->at) || refuse(in, "a blank is missing behind the quotes");
    }
    if (right) *ret_key = keep(in, slice_from_buf(&key));
    buf_done(&key);
    return right;
}

static bool convert(struct reader *in, struct slice text, struct slice *ret_bytes) {
    struct buf bytes = {0};
    bool right = true;
    if (in->hex)
        right = kv_parse_hex(text, &bytes) || refuse(in, "not hexadecimal, as --hex says");
    else
        buf_append(&bytes, text);
    if (right) *ret_bytes = keep(in, slice_from_buf(&bytes));
    buf_done(&bytes);
    return right;
}

static bool take_key(struct reader *in, struct slice *ret_key) {
    skip_blanks(in);
    if (*in->at == '"' && !in->hex) return take_quoted(in, ret_key);
    struct slice word = take_word(in);
    return word.len > 0 ? convert(in, word, ret_key) : refuse(in, "the key is missing");
}

/* All that follows one blank: it may be empty, and begin and end with blanks. */
static bool take_value(struct reader *in, struct slice *value) {
    if (!*in->at) return refuse(in, "the value is missing");
    const char *text = in->at + 1;
    in->at += strlen(in->at);
    if (strcmp(text, "-") != 0) return convert(in, slice_from_text(text), value);
    if (in->parts->input) return refuse(in, "standard input can be the value of one part only");
    in->parts->input = value;
    return true;
}

/* Decimal with an optional sign, in 64 bits. */
static bool parse_i64(struct slice word, int64_t *ret_number) {
    bool negative = word.len > 0 && word.data[0] == '-';
    size_t at = word.len > 0 && (negative || word.data[0] == '+') ? 1 : 0;
    int64_t number = 0;
    if (at == word.len) return false;
    for (; at < word.len; at++) {
        int digit = word.data[at] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, negative ? -digit : digit, &number))
            return false;
    }
    *ret_number = number;
    return true;
}

static bool take_i64(struct reader *in, int64_t *ret_number) {
    return parse_i64(take_word(in), ret_number) || refuse(in, "not a whole number of 64 bits");
}

static bool take_version(struct reader *in, uint64_t *ret_version) {
    int64_t number;
    if (!take_i64(in, &number)) return false;
    if (number < 0) return refuse(in, "a version is not negative");
    *ret_version = (uint64_t)number;
    return true;
}

/* ---- parts ---- */

static uint32_t words_left(const struct reader *in) {
    struct reader ahead = *in;
    uint32_t count = 0;
    while (take_word(&ahead).len > 0)
        count++;
    return count;
}

/* "unchanged KEY N" or "unchanged START END N": whether an END stands there is told by the count
 * of words behind the first key. */
static bool read_unchanged(struct reader *in, struct txn_guard *guard) {
    guard->kind = TXN_GUARD_UNCHANGED;
    return take_key(in, &guard->key) && (words_left(in) < 2 || take_key(in, &guard->end)) &&
           take_version(in, &guard->version);
}

static bool read_guard(struct reader *in, struct txn_guard *guard) {
    struct slice kind = take_word(in);
    if (word_is(kind, "unchanged")) return read_unchanged(in, guard);
    if (word_is(kind, "exists"))
        guard->kind = TXN_GUARD_EXISTS;
    else if (word_is(kind, "absent"))
        guard->kind = TXN_GUARD_ABSENT;
    else if (word_is(kind, "equals"))
        guard->kind = TXN_GUARD_EQUALS;
    else if (word_is(kind, "version"))
        guard->kind = TXN_GUARD_VERSION;
    else
        return refuse(in, "no such guard");
    if (!take_key(in, &guard->key)) return false;
    if (guard->kind == TXN_GUARD_EQUALS) return take_value(in, &guard->value);
    return guard->kind != TXN_GUARD_VERSION || take_version(in, &guard->version);
}

static bool read_add(struct reader *in, struct txn_op *op) {
    op->kind = TXN_OP_ADD;
    op->minimum = INT64_MIN;
    op->maximum = INT64_MAX;
    if (!take_key(in, &op->key) || !take_i64(in, &op->delta)) return false;
    while (!at_end(in)) {
        struct slice word = take_word(in);
        bool is_minimum = word_is(word, "min");
        if (!is_minimum && !word_is(word, "max")) return refuse(in, "neither min nor max");
        if (!take_i64(in, is_minimum ? &op->minimum : &op->maximum)) return false;
    }
    return true;
}

static bool read_op(struct reader *in, struct txn_op *op) {
    if (strcmp(in->option, "add") == 0) return read_add(in, op);
    if (strcmp(in->option, "delete") == 0) {
        op->kind = TXN_OP_DELETE;
        return take_key(in, &op->key);
    }
    op->kind = strcmp(in->option, "put") == 0 ? TXN_OP_PUT : TXN_OP_INSERT;
    return take_key(in, &op->key) && take_value(in, &op->value);
}

enum status write_parts_parse(const struct config_list *list, bool hex, struct write_parts *ret,
                              struct buf *error) {
    *ret = (struct write_parts){0};
    arena_init(&ret->arena, 0);
    struct reader in = {.parts = ret, .hex = hex, .error = error};
    struct txn_command *command = &ret->command;
    if (list->count == 0 || list->count > TXN_COMMAND_PARTS_MAX) {
        buf_printf(error, "%zu guards and operations are given; 1 to %u are possible", list->count,
                   TXN_COMMAND_PARTS_MAX);
        return STATUS_INVALID;
    }
    command->guards = arena_alloc(&ret->arena, list->count * sizeof(struct txn_guard));
    command->ops = arena_alloc(&ret->arena, list->count * sizeof(struct txn_op));
    memset(command->guards, 0, list->count * sizeof(struct txn_guard));
    memset(command->ops, 0, list->count * sizeof(struct txn_op));
    for (size_t i = 0; i < list->count; i++) {
        in.option = list->items[i].option;
        in.text = in.at = list->items[i].text;
        bool right = strcmp(in.option, "guard") == 0
                         ? read_guard(&in, &command->guards[command->guard_count++])
                         : read_op(&in, &command->ops[command->op_count++]);
        if (right && !at_end(&in)) right = refuse(&in, "there is more than belongs there");
        if (!right) return STATUS_INVALID;
    }
    return STATUS_OK;
}

void write_parts_done(struct write_parts *parts) {
    arena_done(&parts->arena);
}
