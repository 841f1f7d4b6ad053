/* flotilla_instructions PATH OPERATIONS: drives one hot path; --list names them. Run under
 * callgrind by instructions.py, which compares what it counts with bench/instructions.json. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/log.h"
#include "tests/instructions/paths.h"

static const struct path *const groups[] = {paths_raft,   paths_range, paths_txn,
                                            paths_router, paths_frame, paths_proto};

/* Its own symbol in any build: the counter is switched on by this name. */
__attribute__((noinline)) void measured(measured_fn *fn, void *ctx) {
    fn(ctx);
    __asm__ volatile("" ::: "memory"); /* no tail call: the symbol must be left after fn */
}

static const struct path *find_path(const char *name) {
    for (size_t group = 0; group < sizeof(groups) / sizeof(groups[0]); group++)
        for (const struct path *path = groups[group]; path->name; path++)
            if (strcmp(path->name, name) == 0) return path;
    return NULL;
}

/* name, operations of the short and of the long run, what: separated by tabs */
static void list_paths(void) {
    for (size_t group = 0; group < sizeof(groups) / sizeof(groups[0]); group++)
        for (const struct path *path = groups[group]; path->name; path++)
            printf("%s\t%" PRIu32 "\t%" PRIu32 "\t%s\n", path->name, path->operations,
                   path->operations * PATH_LONG, path->what);
}

/* Every path still works; each asserts what it did. */
static void try_paths(void) {
    for (size_t group = 0; group < sizeof(groups) / sizeof(groups[0]); group++)
        for (const struct path *path = groups[group]; path->name; path++)
            path->run(PATH_TRY);
}

int main(int count, char **arguments) {
    log_set_level(LOG_ERROR);
    if (count == 2 && strcmp(arguments[1], "--list") == 0) {
        list_paths();
        return 0;
    }
    if (count == 2 && strcmp(arguments[1], "--try") == 0) {
        try_paths();
        return 0;
    }
    const struct path *path = count == 3 ? find_path(arguments[1]) : NULL;
    if (!path) {
        fprintf(stderr, "flotilla_instructions --list | --try | PATH OPERATIONS\n");
        return 2;
    }
    path->run((uint32_t)strtoul(arguments[2], NULL, 10));
    return 0;
}
