/* flotilla_conformance DIR [--diff]: runs every conformance data file below DIR through the Raft
 * core.
 *
 * Prints a line per file and a summary as JSON; exit code 0 only if all pass, 2 if DIR cannot be
 * read. The kind of a file is known from its commands. Lines whose first word is a log level are
 * dropped from expected and actual output alike. Log lines are not compared, white space at line
 * ends neither; everything else is, exactly. */
#include <ftw.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"
#include "tests/conformance/cases.h"

enum file_kind { FILE_QUORUM, FILE_CONFCHANGE, FILE_TRACE };

static enum file_kind kind_of(const struct conformance_file *file) {
    for (size_t at = 0; at < file->count; at++) {
        const char *command = file->cases[at].command;
        if (strcmp(command, "committed") == 0 || strcmp(command, "vote") == 0) return FILE_QUORUM;
        if (strcmp(command, "simple") == 0 || strcmp(command, "enter-joint") == 0 ||
            strcmp(command, "leave-joint") == 0) {
            return FILE_CONFCHANGE;
        }
    }
    return FILE_TRACE;
}

/* ---- comparing ---- */

static bool is_log_line(const char *line, size_t len) {
    static const char *levels[] = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL"};
    while (len > 0 && *line == ' ') {
        line++;
        len--;
    }
    for (size_t at = 0; at < sizeof(levels) / sizeof(levels[0]); at++) {
        size_t word = strlen(levels[at]);
        if (len >= word && memcmp(line, levels[at], word) == 0 &&
            (len == word || line[word] == ' ')) {
            return true;
        }
    }
    return false;
}

/* What counts of an output: no log lines, no space at line ends, `ok` when nothing is left. */
static void normalise(const char *text, struct buf *ret_text) {
    while (*text) {
        size_t len = strcspn(text, "\n"), kept = len;
        while (kept > 0 && (text[kept - 1] == ' ' || text[kept - 1] == '\r')) {
            kept--;
        }
        if (kept > 0 && !is_log_line(text, kept)) {
            buf_append(ret_text, slice_make(text, kept));
            buf_append_byte(ret_text, '\n');
        }
        text += len + (text[len] == '\n');
    }
    if (ret_text->len == 0) buf_append(ret_text, SLICE_LITERAL("ok\n"));
}

static void keep_last_line(struct buf *text) {
    size_t start = text->len - 1;
    while (start > 0 && text->data[start - 1] != '\n') {
        start--;
    }
    memmove(text->data, text->data + start, text->len - start);
    text->len -= start;
}

static bool starts_with(const struct buf *text, const char *prefix) {
    return slice_has_prefix(slice_from_buf(text), slice_from_text(prefix));
}

static bool matches(enum file_kind kind, struct buf *expected, struct buf *actual) {
    if (kind == FILE_QUORUM) {
        keep_last_line(expected);
        /* Picturing code ends the drawing of an empty configuration with the sign itself. */
        static const char drawn[] = "<empty majority quorum>";
        if (starts_with(expected, drawn)) {
            size_t len = sizeof(drawn) - 1;
            memmove(expected->data, expected->data + len, expected->len - len);
            expected->len -= len;
        }
    }
    if (kind == FILE_CONFCHANGE && !starts_with(expected, "voters=")) {
        return starts_with(actual, "refused: ");
    }
    return slice_equal(slice_from_buf(expected), slice_from_buf(actual));
}

static void print_difference(const struct conformance_file *file,
                             const struct conformance_case *one, const struct buf *expected,
                             const struct buf *actual) {
    printf("%s:%zu: %s\n--- expected\n%.*s--- actual\n%.*s---\n", file->name, one->line,
           one->command, (int)expected->len, (const char *)expected->data, (int)actual->len,
           (const char *)actual->data);
}

/* ---- one file ---- */

static bool compare(const struct conformance_file *file, const struct buf *outputs, bool diff) {
    enum file_kind kind = kind_of(file);
    bool same = true;
    for (size_t at = 0; at < file->count && same; at++) {
        struct buf expected = {0}, actual = {0},
                   text = buf_from_slice(slice_from_buf(&outputs[at]));
        buf_append_byte(&text, '\0');
        normalise(file->cases[at].expected, &expected);
        normalise((const char *)text.data, &actual);
        same = matches(kind, &expected, &actual);
        if (!same && diff) print_difference(file, &file->cases[at], &expected, &actual);
        buf_done(&expected);
        buf_done(&actual);
        buf_done(&text);
    }
    return same && file->count > 0;
}

static bool run_file(const char *path, bool diff) {
    struct conformance_file file;
    if (!conformance_file_read(path, &file)) return false;
    struct buf *outputs = memory_zalloc((file.count + 1) * sizeof(*outputs));
    switch (kind_of(&file)) {
    case FILE_QUORUM:
        run_quorum_file(&file, outputs);
        break;
    case FILE_CONFCHANGE:
        run_confchange_file(&file, outputs);
        break;
    case FILE_TRACE:
        run_trace_file(&file, outputs);
        break;
    }
    bool passed = compare(&file, outputs, diff);
    printf("%s %s\n", passed ? "pass" : "FAIL", path);
    for (size_t at = 0; at < file.count; at++) {
        buf_done(&outputs[at]);
    }
    memory_free(outputs);
    conformance_file_done(&file);
    return passed;
}

/* ---- all files ---- */

static struct {
    char **paths;
    size_t count;
} found; /* nftw hands no context to its callback */

static int note_file(const char *path, const struct stat *stat, int type, struct FTW *ftw) {
    (void)stat;
    (void)ftw; /* only the name matters */
    size_t len = strlen(path);
    if (type != FTW_F || len < 4 || strcmp(path + len - 4, ".txt") != 0) return 0;
    found.paths = memory_realloc(found.paths, (found.count + 1) * sizeof(*found.paths));
    found.paths[found.count] = memory_alloc(len + 1);
    memcpy(found.paths[found.count++], path, len + 1);
    return 0;
}

static int compare_paths(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv) {
    bool diff = argc == 3 && strcmp(argv[2], "--diff") == 0;
    if (argc < 2 || argc > 3 || (argc == 3 && !diff)) {
        fprintf(stderr, "usage: %s DIR [--diff]\n", argv[0]);
        return 2;
    }
    log_set_level(LOG_NONE);
    if (nftw(argv[1], note_file, 16, FTW_PHYS) != 0) {
        perror(argv[1]);
        return 2;
    }
    qsort(found.paths, found.count, sizeof(*found.paths), compare_paths);
    size_t passed = 0;
    for (size_t at = 0; at < found.count; at++) {
        passed += run_file(found.paths[at], diff);
        (void)fflush(stdout); /* a crash in the next file must not swallow this line */
        memory_free(found.paths[at]);
    }
    memory_free(found.paths);
    printf("{\"files\":%zu,\"passed\":%zu,\"failed\":%zu}\n", found.count, passed,
           found.count - passed);
    return found.count > 0 && passed == found.count ? 0 : 1;
}
