/* `flotilla bench limits`: the roofs of this machine, for people and for programs. */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/roof.h"
#include "cmd/bench.h"
#include "cmd/commands.h"
#include "cmd/signals.h"

struct limits_options {
    struct common_options common;
    char *directory, *json;
    double seconds;
};

#define LIMITS_OPTION(name, kind, field, fallback, unit, help) \
    { name, kind, offsetof(struct limits_options, field), fallback, unit, 0, 0, help }

static const struct config_option options_of_limits[] = {
    LIMITS_OPTION("directory", CONFIG_TEXT, directory, ".", "",
                  "where the disk is tried: on the disk that nodes would use"),
    LIMITS_OPTION("seconds", CONFIG_DOUBLE, seconds, "3", "s", "how long each figure takes"),
    LIMITS_OPTION("json", CONFIG_TEXT, json, "", "",
                  "file to write the final JSON line to as well"),
    COMMON_OPTIONS(struct limits_options),
};

static const struct config_table limits_table = {
    .command = "bench limits",
    .synopsis = "Measures what this machine can do at most, part by part: synced writes, engine "
                "batches, gRPC calls and stream entries, bare sockets. Needs no cluster, and "
                "nothing else running. Ends with one line of JSON.",
    .examples = "  flotilla bench limits\n"
                "  flotilla bench limits --directory /var/lib/flotilla --json limits.json\n",
    .options = options_of_limits,
    .option_count = OPTION_COUNT(options_of_limits),
};

/* Everything that a run holds. */
struct limits {
    const struct limits_options *options;
    struct roof_peer rpc_peer, socket_peer;
    struct roof_list list;
    struct buf directory; /* made for this run; NUL-terminated; empty: not made */
    struct buf error;
};

static enum status make_directory(struct limits *limits) {
    buf_printf(&limits->directory, "%s/flotilla-limits.XXXXXX", limits->options->directory);
    buf_append_byte(&limits->directory, '\0');
    if (mkdtemp((char *)limits->directory.data)) return STATUS_OK;
    buf_printf(&limits->error, "cannot make a directory in %s (--directory): %s",
               limits->options->directory, strerror(errno));
    buf_clear(&limits->directory);
    return STATUS_IO;
}

static int remove_one(const char *path, const struct stat *file, int kind, struct FTW *position) {
    return remove(path);
}

static void remove_directory(struct limits *limits) {
    if (limits->directory.len == 0) return;
    const char *path = (const char *)limits->directory.data;
    if (nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0)
        common_complain_text("bench limits", "could not remove %s: %s", path, strerror(errno));
}

static void tell(const char *what) {
    fprintf(stderr, "measuring %s\n", what);
}

static enum status measure(struct limits *limits) {
    double seconds = limits->options->seconds;
    /* Before any thread: peers are forks of this process. */
    enum status status = roof_peer_start(&limits->rpc_peer, roof_serve_rpc, &limits->error);
    if (status == STATUS_OK)
        status = roof_peer_start(&limits->socket_peer, roof_serve_socket, &limits->error);
    if (status == STATUS_OK) status = make_directory(limits);
    if (status != STATUS_OK) return status;
    const char *directory = (const char *)limits->directory.data;
    tell("the disk");
    status = roof_measure_disk(directory, seconds, &limits->list, &limits->error);
    if (status != STATUS_OK || signals_pending()) return status;
    tell("the engine");
    status = roof_measure_engine(directory, seconds, &limits->list, &limits->error);
    if (status != STATUS_OK || signals_pending()) return status;
    tell("bare sockets");
    status = roof_measure_socket(&limits->socket_peer, seconds, &limits->list, &limits->error);
    if (status != STATUS_OK || signals_pending()) return status;
    tell("gRPC");
    roof_measure_rpc(&limits->rpc_peer, seconds, &limits->list);
    return STATUS_OK;
}

static enum status report(struct limits *limits) {
    struct buf table = {0}, json = {0};
    enum status status = STATUS_OK;
    roof_append_table(&table, &limits->list);
    roof_append_json(&json, &limits->list);
    buf_append_byte(&json, '\0');
    printf("%.*s%s\n", (int)table.len, (const char *)table.data, (const char *)json.data);
    if (limits->options->json[0])
        status = common_write_file(limits->options->json, (const char *)json.data, &limits->error);
    buf_done(&table);
    buf_done(&json);
    return status;
}

static int run_limits(const struct limits_options *options) {
    struct limits limits = {.options = options};
    enum status status = measure(&limits);
    if (status == STATUS_OK && signals_pending()) {
        buf_printf(&limits.error, "stopped by a signal");
        status = STATUS_SHUTDOWN;
    }
    if (status == STATUS_OK) status = report(&limits);
    if (status != STATUS_OK) common_complain("bench limits", &limits.error);
    roof_peer_stop(&limits.rpc_peer);
    roof_peer_stop(&limits.socket_peer);
    remove_directory(&limits);
    buf_done(&limits.directory);
    buf_done(&limits.error);
    return status == STATUS_OK ? CMD_OK : CMD_FAILED;
}

static int bench_limits(int argument_count, char **arguments) {
    struct limits_options options = {0};
    switch (common_load(&limits_table, argument_count, arguments, &options, &options.common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    int exit_code = CMD_USAGE;
    if (options.seconds > 0 && options.seconds <= 60)
        exit_code = run_limits(&options);
    else
        common_complain_text("bench limits", "--seconds must be above 0 and at most 60");
    config_free_values(&limits_table, &options);
    return exit_code;
}

const struct command command_bench_limits = {
    .name = "limits",
    .help = "the roofs of this machine: disk, engine, gRPC, sockets",
    .run = bench_limits,
    .table = &limits_table,
};
