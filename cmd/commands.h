/* The commands of the binary. Each file of a command ends with its `struct command`: the name, the
 * line that `flotilla help` prints, the options, and the function. commands.c puts them together;
 * help, the dispatch and the check of the environment read nothing else, and neither will
 * completions and manual pages. */
#ifndef FLOTILLA_CMD_COMMANDS_H
#define FLOTILLA_CMD_COMMANDS_H

#include "base/config.h"

/* Exit codes. The last two are of the commands that read and write keys: a program that calls them
 * must know whether asking again is worth while, and whether it is safe. */
enum {
    CMD_OK = 0,
    CMD_FAILED = 1, /* also: there is no such key, or the write was refused */
    CMD_USAGE = 2,
    CMD_UNAVAILABLE = 3, /* nobody could do it in time; nothing was changed */
    CMD_UNKNOWN = 4,     /* a write that may have been done, or may still be */
};

struct command {
    const char *name;
    const char *help; /* one line */
    /* Gets the arguments after the name and returns the exit code. NULL: a group. */
    int (*run)(int argument_count, char **arguments);
    const struct config_table *table;   /* its options; NULL: it has none */
    const struct command *const *parts; /* of a group, NULL at the end */
};

/* ---- commands that have a file of their own ---- */
extern const struct command command_dev_cluster, command_get, command_put, command_delete,
    command_scan, command_write, command_admin, command_bench, command_demo, command_placement,
    command_node, command_router;

/* admin's */
extern const struct command command_admin_status;
extern const struct command command_admin_transfer, command_admin_replicas,
    command_admin_add_replica, command_admin_remove_replica, command_admin_move_replica;

/* bench's */
extern const struct command command_bench_hot_issuer, command_bench_put, command_bench_get,
    command_bench_mixed, command_bench_scan, command_bench_verify, command_bench_stages,
    command_bench_limits, command_bench_overload, command_bench_raft, command_bench_split_keys;

/* ---- all of them ---- */
extern const struct command *const commands[]; /* NULL at the end */
/* Calls `visit` for each command that has options. */
void commands_each(void (*visit)(void *ctx, const struct command *command), void *ctx);
/* main() after the signals are blocked. */
int commands_run(int argument_count, char **arguments);

#endif
