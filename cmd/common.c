#include "cmd/common.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/commands.h"

#define NESTING_LOOKED_AT 2u

const char *common_version(void) {
    return FLOTILLA_VERSION;
}

const char *common_libraries(void) {
    return "RocksDB " FLOTILLA_ROCKSDB "\ngRPC core " FLOTILLA_GRPC;
}

/* Threads that wake up do not push others off the processor: when all processors are busy, work
 * gathers while it waits, and is done in larger batches for less. Nothing changes while a processor
 * is free. To be called before there are other threads: they inherit it. */
static void prefer_batches(void) {
    struct sched_param none = {0};
    (void)sched_setscheduler(0, SCHED_BATCH, &none); /* where it is refused, it only costs time */
}

static enum status apply_common(const struct common_options *common, const char *command) {
    enum log_level level;
    if (!log_level_parse(common->log_level, &level)) {
        common_complain_text(command, "--log-level: '%s' is none of debug, info, warn, error, none",
                             common->log_level);
        return STATUS_INVALID;
    }
    log_set_level(level);
    log_set_user_keys(common->log_user_keys);
    if (common->batch_scheduling) prefer_batches();
    return STATUS_OK;
}

enum common_load common_load(const struct config_table *table, int argument_count, char **arguments,
                             void *target, const struct common_options *common) {
    bool help = false;
    struct buf text = {0};
    enum common_load result = COMMON_GO_ON;
    if (config_load(table, argument_count, arguments, target, &help, &text) != STATUS_OK) {
        common_complain(table->command, &text);
        result = COMMON_USAGE;
    } else if (help) {
        config_print_help(table, &text);
        (void)fwrite(text.data, 1, text.len, stdout); /* nobody to tell when stdout is gone */
        result = COMMON_HELP_SHOWN;
    } else if (common && apply_common(common, table->command) != STATUS_OK) {
        config_free_values(table, target);
        result = COMMON_USAGE;
    }
    buf_done(&text);
    return result;
}

void common_complain(const char *command, const struct buf *sentence) {
    fprintf(stderr, "flotilla %s: %.*s\n", command, (int)sentence->len,
            (const char *)sentence->data);
}

void common_complain_text(const char *command, const char *format, ...) {
    char sentence[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof(sentence), format, arguments); /* cut is better than none */
    va_end(arguments);
    fprintf(stderr, "flotilla %s: %s\n", command, sentence);
}

int common_exit_code(enum status status) {
    if (status == STATUS_OK) return CMD_OK;
    return status == STATUS_INVALID ? CMD_USAGE : CMD_FAILED;
}

void common_print_json_take(cJSON *object) {
    struct buf line = {0};
    json_print_take(&line, object);
    printf("%.*s\n", (int)line.len, (const char *)line.data);
    buf_done(&line);
}

static enum status describe_errno(struct buf *error, const char *doing, const char *path) {
    enum status status = errno == ENOSPC ? STATUS_NO_SPACE : STATUS_IO;
    buf_printf(error, "cannot %s %s: %s", doing, path, strerror(errno));
    return status;
}

enum status common_write_file(const char *path, const char *line, struct buf *error) {
    enum status status = STATUS_OK;
    struct buf temporary = {0};
    buf_printf(&temporary, "%s.%d.tmp", path, (int)getpid());
    buf_append_byte(&temporary, 0);
    const char *temporary_path = (const char *)temporary.data;
    FILE *file = fopen(temporary_path, "we");
    if (!file) {
        status = describe_errno(error, "create", temporary_path);
        goto out;
    }
    bool written = fprintf(file, "%s\n", line) >= 0 && fflush(file) == 0;
    if (!written) status = describe_errno(error, "write", temporary_path);
    if (fclose(file) != 0 && written) status = describe_errno(error, "write", temporary_path);
    if (status == STATUS_OK && rename(temporary_path, path) != 0)
        status = describe_errno(error, "replace", path);
    if (status != STATUS_OK) (void)unlink(temporary_path); /* it is of no use to anyone */
out:
    buf_done(&temporary);
    return status;
}

enum status common_make_directory(const char *path, struct buf *error) {
    struct buf part = {0};
    enum status status = STATUS_OK;
    size_t len = strlen(path);
    for (size_t i = 1; i <= len && status == STATUS_OK; i++) {
        if (i < len && path[i] != '/') continue;
        buf_assign(&part, slice_make(path, i));
        buf_append_byte(&part, 0);
        if (mkdir((const char *)part.data, 0755) != 0 && errno != EEXIST)
            status = describe_errno(error, "create the directory", (const char *)part.data);
    }
    struct stat found;
    if (status == STATUS_OK && (stat(path, &found) != 0 || !S_ISDIR(found.st_mode))) {
        buf_printf(error, "%s is not a directory; choose another path", path);
        status = STATUS_INVALID;
    }
    buf_done(&part);
    return status;
}

/* ---- data directories ---- */

/* A process of ours keeps its engine there. */
static bool is_data_directory(const char *path) {
    struct buf current = {0};
    struct stat found;
    buf_printf(&current, "%s/engine/CURRENT", path);
    bool is_one = stat((const char *)current.data, &found) == 0;
    buf_done(&current);
    return is_one;
}

static enum status refuse_nested(const char *path, const char *inner, const char *outer,
                                 struct buf *error) {
    buf_printf(error,
               "--data-dir %s: the data directory %s lies in the data directory %s; each process "
               "wants one of its own, beside the others",
               path, inner, outer);
    return STATUS_INVALID;
}

/* In one of its directories, or in one of those: as deep as people nest them by mistake. */
static enum status check_inside(const char *path, const char *directory, unsigned depth,
                                struct buf *error) {
    DIR *opened = opendir(directory);
    enum status status = STATUS_OK;
    if (!opened) return STATUS_OK; /* what cannot be read is told by whoever needs it */
    struct dirent *entry;
    while (status == STATUS_OK && (entry = readdir(opened))) {
        bool own = strcmp(directory, path) == 0 && strcmp(entry->d_name, "engine") == 0;
        if (entry->d_name[0] == '.' || own) continue;
        struct buf child = {0};
        struct stat found;
        buf_printf(&child, "%s/%s", directory, entry->d_name);
        const char *child_path = (const char *)child.data;
        if (lstat(child_path, &found) == 0 && S_ISDIR(found.st_mode)) {
            if (is_data_directory(child_path))
                status = refuse_nested(path, child_path, path, error);
            else if (depth > 1)
                status = check_inside(path, child_path, depth - 1, error);
        }
        buf_done(&child);
    }
    (void)closedir(opened); /* only read from */
    return status;
}

/* Every directory above it, up to the root. */
static enum status check_above(const char *path, struct buf *error) {
    char *real = realpath(path, NULL);
    enum status status = STATUS_OK;
    if (!real) return describe_errno(error, "resolve", path);
    for (char *slash = strrchr(real, '/'); slash && status == STATUS_OK;
         slash = strrchr(real, '/')) {
        *slash = 0;
        if (is_data_directory(real))
            status = refuse_nested(path, path, real[0] ? real : "/", error);
    }
    free(real);
    return status;
}

enum status common_make_data_directory(const char *path, struct buf *error) {
    enum status status = common_make_directory(path, error);
    if (status == STATUS_OK) status = check_above(path, error);
    if (status == STATUS_OK) status = check_inside(path, path, NESTING_LOOKED_AT, error);
    return status;
}
