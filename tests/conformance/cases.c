#include "tests/conformance/cases.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"

/* ---- lines ---- */

struct reader {
    const char *at;
    size_t line;
};

static char *copy_text(const char *text, size_t len) {
    char *copy = memory_alloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

static char *copy_buf(const struct buf *buf) {
    return copy_text(buf->data ? (const char *)buf->data : "", buf->len);
}

/* The next line without its end; NULL at the end of the text. */
static char *next_line(struct reader *reader) {
    if (*reader->at == '\0') return NULL;
    size_t len = strcspn(reader->at, "\n");
    char *line = copy_text(reader->at, len);
    reader->at += len + (reader->at[len] == '\n');
    reader->line++;
    while (len > 0 && isspace((unsigned char)line[len - 1])) {
        line[--len] = '\0';
    }
    return line;
}

/* ---- arguments ---- */

static void add_value(struct case_argument *argument, const char *text, size_t len) {
    while (len > 0 && isspace((unsigned char)*text)) {
        text++;
        len--;
    }
    while (len > 0 && isspace((unsigned char)text[len - 1])) {
        len--;
    }
    if (len == 0 || argument->value_count == CASE_VALUES_MAX) return;
    argument->values[argument->value_count++] = copy_text(text, len);
}

static const char *parse_values(struct case_argument *argument, const char *at) {
    if (*at != '(') {
        size_t len = strcspn(at, " \t");
        add_value(argument, at, len);
        return at + len;
    }
    for (at++; *at && *at != ')';) {
        size_t len = strcspn(at, ", \t)");
        add_value(argument, at, len);
        at += len;
        at += strspn(at, ", \t");
    }
    return *at ? at + 1 : at;
}

static void parse_command(struct conformance_case *one, const char *line) {
    size_t len = strcspn(line, " \t");
    one->command = copy_text(line, len);
    const char *at = line + len;
    for (;;) {
        at += strspn(at, " \t");
        if (*at == '\0') return;
        one->arguments =
            memory_realloc(one->arguments, (one->argument_count + 1) * sizeof(*one->arguments));
        struct case_argument *argument = &one->arguments[one->argument_count++];
        len = strcspn(at, " \t=");
        *argument = (struct case_argument){.key = copy_text(at, len)};
        at += len;
        if (*at == '=') at = parse_values(argument, at + 1);
    }
}

/* ---- cases ---- */

/* Reads lines up to `stop` (or the end) into one text. */
static bool read_block(struct reader *reader, const char *stop, char **ret_text) {
    struct buf text = {0};
    bool stopped = false;
    char *line;
    while (!stopped && (line = next_line(reader))) {
        stopped = strcmp(line, stop) == 0;
        if (!stopped) buf_printf(&text, "%s\n", line);
        memory_free(line);
    }
    *ret_text = copy_buf(&text);
    buf_done(&text);
    return stopped;
}

static void read_expected(struct reader *reader, struct conformance_case *one) {
    if (strncmp(reader->at, "----\n", 5) != 0) {
        (void)read_block(reader, "", &one->expected); /* the end of the file ends it too */
        return;
    }
    reader->at += 5;
    reader->line++;
    (void)read_block(reader, "----", &one->expected);
    char *second = next_line(reader); /* the second of the closing pair */
    memory_free(second);
}

static bool read_case(struct reader *reader, struct conformance_case *ret_case) {
    char *line;
    while ((line = next_line(reader)) && (line[0] == '\0' || line[0] == '#')) {
        memory_free(line);
    }
    if (!line) return false;
    *ret_case = (struct conformance_case){.line = reader->line};
    parse_command(ret_case, line);
    memory_free(line);
    if (read_block(reader, "----", &ret_case->input)) {
        read_expected(reader, ret_case);
    } else {
        ret_case->expected = copy_text("", 0);
    }
    return true;
}

static bool read_whole(const char *path, struct buf *ret_bytes) {
    FILE *file = fopen(path, "re");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return false;
    }
    char chunk[4096];
    size_t got;
    while ((got = fread(chunk, 1, sizeof(chunk), file)) > 0) {
        buf_append(ret_bytes, slice_make(chunk, got));
    }
    bool read = !ferror(file);
    if (!read) fprintf(stderr, "%s: %s\n", path, strerror(errno));
    (void)fclose(file); /* only read */
    return read;
}

bool conformance_file_read(const char *path, struct conformance_file *ret_file) {
    struct buf bytes = {0};
    if (!read_whole(path, &bytes)) {
        buf_done(&bytes);
        return false;
    }
    buf_append_byte(&bytes, '\0');
    *ret_file = (struct conformance_file){.name = copy_text(path, strlen(path))};
    struct reader reader = {.at = (const char *)bytes.data};
    struct conformance_case one;
    while (read_case(&reader, &one)) {
        ret_file->cases =
            memory_realloc(ret_file->cases, (ret_file->count + 1) * sizeof(*ret_file->cases));
        ret_file->cases[ret_file->count++] = one;
    }
    buf_done(&bytes);
    return true;
}

static void case_done(struct conformance_case *one) {
    for (size_t at = 0; at < one->argument_count; at++) {
        struct case_argument *argument = &one->arguments[at];
        for (size_t value = 0; value < argument->value_count; value++) {
            memory_free(argument->values[value]);
        }
        memory_free(argument->key);
    }
    memory_free(one->arguments);
    memory_free(one->command);
    memory_free(one->input);
    memory_free(one->expected);
}

void conformance_file_done(struct conformance_file *file) {
    for (size_t at = 0; at < file->count; at++) {
        case_done(&file->cases[at]);
    }
    memory_free(file->cases);
    memory_free(file->name);
    *file = (struct conformance_file){0};
}

/* ---- asking for arguments ---- */

const struct case_argument *case_argument_find(const struct conformance_case *one,
                                               const char *key) {
    for (size_t at = 0; at < one->argument_count; at++) {
        const struct case_argument *argument = &one->arguments[at];
        if (argument->value_count > 0 && strcmp(argument->key, key) == 0) return argument;
    }
    return NULL;
}

bool case_flag(const struct conformance_case *one, const char *key) {
    const struct case_argument *argument = case_argument_find(one, key);
    return argument && strcmp(argument->values[0], "true") == 0;
}

uint64_t case_number(const struct conformance_case *one, const char *key, uint64_t fallback) {
    const struct case_argument *argument = case_argument_find(one, key);
    return argument ? strtoull(argument->values[0], NULL, 10) : fallback;
}

size_t case_ids(const struct conformance_case *one, uint64_t *ret_ids, size_t max) {
    size_t count = 0;
    for (size_t at = 0; at < one->argument_count && count < max; at++) {
        const struct case_argument *argument = &one->arguments[at];
        if (argument->value_count > 0 || !isdigit((unsigned char)argument->key[0])) continue;
        ret_ids[count++] = strtoull(argument->key, NULL, 10);
    }
    return count;
}
