/* Cases of a conformance file: comment lines (#), a command line with arguments, input lines, a
 * line `----`, the expected output, an empty line. Arguments are words or key=value or
 * key=(value,value); a second `----` at once means that the output ends with two such lines. */
#ifndef FLOTILLA_TESTS_CONFORMANCE_CASES_H
#define FLOTILLA_TESTS_CONFORMANCE_CASES_H

#include <stdio.h>

#include "base/slice.h"

#define CASE_VALUES_MAX 32

struct case_argument {
    char *key;
    char *values[CASE_VALUES_MAX];
    size_t value_count; /* 0: a plain word */
};

struct conformance_case {
    size_t line; /* of the command, from 1 */
    char *command;
    struct case_argument *arguments;
    size_t argument_count;
    char *input;    /* lines between the command and `----` */
    char *expected; /* lines after it */
};

struct conformance_file {
    char *name;
    struct conformance_case *cases;
    size_t count;
};

/* False with a line on standard error: unreadable, or not of this format. */
bool conformance_file_read(const char *path, struct conformance_file *ret_file);
void conformance_file_done(struct conformance_file *file);

const struct case_argument *case_argument_find(const struct conformance_case *one, const char *key);
bool case_flag(const struct conformance_case *one, const char *key); /* key=true */
/* Value of key=number; `fallback` when absent. */
uint64_t case_number(const struct conformance_case *one, const char *key, uint64_t fallback);
/* Plain words that are numbers, in order; returns how many. */
size_t case_ids(const struct conformance_case *one, uint64_t *ret_ids, size_t max);

/* One program per kind of file: runs all cases and stores what each printed in outputs[i]. */
void run_quorum_file(const struct conformance_file *file, struct buf *outputs);
void run_confchange_file(const struct conformance_file *file, struct buf *outputs);
void run_trace_file(const struct conformance_file *file, struct buf *outputs);

#endif
