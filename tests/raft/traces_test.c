/* Our own traces: tests/raft/traces/ holds stories of a group, told as commands and what they lead
 * to. The format is in its README. With FLOTILLA_REWRITE_TRACES set, what happens replaces what is
 * expected: ./dev traces --rewrite. */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "tests/raft/trace_commands.h"

/* Guards against a glob that finds nothing. */
#define STORIES_MIN 15u

static bool read_file(const char *path, struct buf *ret_text) {
    FILE *file = fopen(path, "re");
    if (!file) return false;
    for (size_t got = 1; got > 0;) {
        buf_reserve(ret_text, 4096);
        got = fread(ret_text->data + ret_text->len, 1, 4096, file);
        ret_text->len += got;
    }
    bool read = !ferror(file);
    (void)fclose(file); /* only read */
    return read;
}

static bool write_file(const char *path, const struct buf *text) {
    FILE *file = fopen(path, "we");
    if (!file) return false;
    bool written = fwrite(text->data, 1, text->len, file) == text->len;
    return fclose(file) == 0 && written;
}

/* One line of the text without its end; false at the end. */
static bool next_line(struct slice *text, struct slice *ret_line) {
    if (text->len == 0) return false;
    const uint8_t *end = memchr(text->data, '\n', text->len);
    size_t len = end ? (size_t)(end - text->data) : text->len;
    *ret_line = slice_make(text->data, len);
    size_t used = len + (end ? 1 : 0);
    *text = slice_make(text->data + used, text->len - used);
    return true;
}

static void append_line(struct buf *out, struct slice line) {
    buf_append(out, line);
    buf_append_byte(out, '\n');
}

/* Runs the commands of one block, from its first line to `----`. */
static bool run_line(struct trace *trace, struct slice line, struct buf *output) {
    struct buf text = buf_from_slice(line);
    buf_append_byte(&text, '\0');
    bool sense = trace_run(trace, (const char *)text.data, output);
    if (!sense) buf_printf(output, "this line makes no sense: %s\n", (const char *)text.data);
    buf_done(&text);
    return sense;
}

/* Copies the file, with what happens in the place of what was expected. Comments and blank lines
 * stay; a line that is no comment is a command until `----`, then expectation until a blank one. */
static bool retell(struct slice text, struct buf *ret_told) {
    struct trace *trace = trace_new();
    struct buf output = {0};
    struct slice line;
    bool sense = true, expectation = false;
    while (next_line(&text, &line)) {
        if (line.len == 0) expectation = false;
        if (expectation) continue;
        append_line(ret_told, line);
        if (slice_equal(line, SLICE_LITERAL("----"))) {
            buf_append(ret_told, output.len ? slice_from_buf(&output) : SLICE_LITERAL("ok\n"));
            buf_clear(&output);
            expectation = true;
        } else if (line.len > 0 && line.data[0] != '#') {
            sense = run_line(trace, line, &output) && sense;
        }
    }
    sense = sense && output.len == 0; /* something happened, and nobody looked */
    buf_done(&output);
    trace_free(trace);
    return sense;
}

static void show_difference(const char *path, struct slice expected, struct slice told) {
    struct slice was = SLICE_EMPTY, is = SLICE_EMPTY;
    for (unsigned line = 1;; line++) {
        bool more = next_line(&expected, &was), more_told = next_line(&told, &is);
        if (more && more_told && slice_equal(was, is)) continue;
        cr_expect(false, "%s:%u\n  expected: %.*s\n  happened: %.*s", path, line,
                  more ? (int)was.len : 0, (const char *)was.data, more_told ? (int)is.len : 0,
                  (const char *)is.data);
        return;
    }
}

static void run_story(const char *path, bool rewrite) {
    struct buf text = {0}, told = {0};
    cr_assert(read_file(path, &text), "%s cannot be read", path);
    bool sense = retell(slice_from_buf(&text), &told);
    bool same = slice_equal(slice_from_buf(&text), slice_from_buf(&told));
    if (rewrite && !same) {
        cr_assert(write_file(path, &told), "%s cannot be written", path);
        fprintf(stderr, "rewritten: %s\n", path);
    } else if (!same) {
        show_difference(path, slice_from_buf(&text), slice_from_buf(&told));
    }
    cr_expect(sense, "%s: a line that makes no sense, or commands without ----", path);
    buf_done(&text);
    buf_done(&told);
}

/* Every story goes as it is told. */
Test(raft_traces, go_as_they_are_told) {
    log_set_level(LOG_NONE);
    bool rewrite = getenv("FLOTILLA_REWRITE_TRACES") != NULL;
    glob_t found;
    cr_assert_eq(glob(TRACES_DIRECTORY "/*.trace", 0, NULL, &found), 0);
    cr_expect_geq(found.gl_pathc, STORIES_MIN);
    for (size_t at = 0; at < found.gl_pathc; at++) {
        run_story(found.gl_pathv[at], rewrite);
    }
    globfree(&found);
}

/* The comparison sees a line that is missing, one that is too much, and one that differs. */
Test(raft_traces, are_retold_from_what_happens) {
    log_set_level(LOG_NONE);
    struct buf told = {0};
    cr_expect(retell(SLICE_LITERAL("# why\ngroup voters=1\nelect 1\nstate\n----\nwrong\n\n# end\n"),
                     &told));
    cr_expect(slice_equal(slice_from_buf(&told),
                          SLICE_LITERAL("# why\ngroup voters=1\nelect 1\nstate\n----\n"
                                        "1: leader, term 2, log 11..11, durable to 11, "
                                        "committed 11, applied 11 \"\"\n\n# end\n")));
    cr_expect_not(retell(SLICE_LITERAL("group voters=1\nstate\n"), &told)); /* nobody looked */
    cr_expect_not(retell(SLICE_LITERAL("group voters=1\nsing 1\n----\n"), &told));
    buf_done(&told);
}
