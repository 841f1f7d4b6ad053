#include "cmd/commands.h"

#include <stdio.h>

#include "base/assert.h"
#include "cmd/common.h"

#define TABLES_MAX 128u

static int run_version(int argument_count, char **arguments);
static int run_help(int argument_count, char **arguments);

static const struct command command_version = {
    .name = "version", .help = "print the version", .run = run_version};
static const struct command command_help = {
    .name = "help",
    .help = "this text; `flotilla help COMMAND` for a command's options",
    .run = run_help};

const struct command *const commands[] = {
    &command_dev_cluster, &command_get,    &command_put,     &command_delete, &command_scan,
    &command_write,       &command_admin,  &command_bench,   &command_demo,   &command_placement,
    &command_node,        &command_router, &command_version, &command_help,   NULL};

static const struct command *find(const struct command *const *list, const char *name) {
    for (; *list; list++)
        if (strcmp((*list)->name, name) == 0) return *list;
    return NULL;
}

static void each(const struct command *const *list,
                 void (*visit)(void *ctx, const struct command *command), void *ctx) {
    for (; *list; list++) {
        if ((*list)->parts) each((*list)->parts, visit, ctx);
        if ((*list)->table) visit(ctx, *list);
    }
}

void commands_each(void (*visit)(void *ctx, const struct command *command), void *ctx) {
    each(commands, visit, ctx);
}

/* ---- help ---- */

/* Of the longest name with its prefix, and one blank: "flotilla admin remove-replica". */
#define NAMES_COLUMNS 30

static void print_list(FILE *out, const char *prefix, const struct command *const *list) {
    for (; *list; list++) {
        int width = NAMES_COLUMNS - (int)strlen(prefix);
        fprintf(out, "  %s%-*s %s\n", prefix, width, (*list)->name, (*list)->help);
        if (!(*list)->parts) continue;
        char name[64];
        snprintf(name, sizeof(name), "%s%s ", prefix, (*list)->name);
        print_list(out, name, (*list)->parts);
    }
}

static void print_usage(FILE *out) {
    fprintf(out,
            "flotilla %s: a multi-Raft sharded range store\n\n"
            "  flotilla COMMAND [OPERANDS] [--option VALUE ...]\n\n",
            common_version());
    print_list(out, "", commands);
    fprintf(out,
            "\nEvery option is a flag (--data-dir), a key of the --config FILE (data-dir:), and "
            "an\nenvironment variable (FLOTILLA_DATA_DIR); flags win over environment over "
            "file.\n\n"
            "A cluster on this machine, and the first key:\n\n"
            "  flotilla dev-cluster &\n"
            "  flotilla put greeting 'hello, world'\n"
            "  flotilla get greeting\n\n"
            "Exit codes: 0 done, 1 failed, not found or refused, 2 called wrongly; of get, put, "
            "delete,\nscan and write also 3 not done in time, nothing was changed, and 4 "
            "unknown.\n");
}

static void print_group(FILE *out, const struct command *group) {
    char prefix[64];
    snprintf(prefix, sizeof(prefix), "flotilla %s ", group->name);
    fprintf(out, "%s: %s\n\n", group->name, group->help);
    print_list(out, prefix, group->parts);
    fprintf(out, "\nEach has --help.\n");
}

static int run_version(int argument_count, char **arguments) {
    printf("flotilla %s\n%s\n", common_version(), common_libraries());
    return CMD_OK;
}

static int run_help(int argument_count, char **arguments) {
    const struct command *const *list = commands;
    const struct command *command = NULL;
    for (int i = 0; i < argument_count && list; i++) {
        command = find(list, arguments[i]);
        if (!command) {
            common_complain_text("help", "there is no command '%s'; `flotilla help` lists them",
                                 arguments[i]);
            return CMD_USAGE;
        }
        list = command->parts;
    }
    if (!command || command->run == run_help) {
        print_usage(stdout);
    } else if (command->parts) {
        print_group(stdout, command);
    } else if (command->table) {
        struct buf text = {0};
        config_print_help(command->table, &text);
        (void)fwrite(text.data, 1, text.len, stdout); /* nobody to tell when stdout is gone */
        buf_done(&text);
    } else {
        printf("flotilla %s: %s\n", command->name, command->help);
    }
    return CMD_OK;
}

/* ---- running ---- */

struct tables {
    const struct config_table *all[TABLES_MAX];
    size_t count;
};

static void collect_table(void *ctx, const struct command *command) {
    struct tables *tables = ctx;
    ASSERT_CMP(tables->count, <, TABLES_MAX);
    tables->all[tables->count++] = command->table;
}

/* One environment serves many commands, so a variable is wrong only when none has such an option.
 */
static enum status check_environment(const struct command *command) {
    struct tables tables = {0};
    struct buf error = {0};
    commands_each(collect_table, &tables);
    enum status status = config_check_environment(tables.all, tables.count, &error);
    if (status != STATUS_OK) common_complain(command->table->command, &error);
    buf_done(&error);
    return status;
}

static bool is_help(const char *argument) {
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static bool asks_for_help(int argument_count, char **arguments) {
    for (int i = 0; i < argument_count; i++)
        if (is_help(arguments[i])) return true;
    return false;
}

static int run(const struct command *command, int argument_count, char **arguments) {
    while (command->parts) {
        const struct command *group = command;
        if (argument_count == 0 || is_help(arguments[0])) {
            print_group(stdout, group);
            return CMD_OK;
        }
        command = find(group->parts, arguments[0]);
        if (!command) {
            fprintf(stderr, "flotilla %s: there is no '%s'\n", group->name, arguments[0]);
            print_group(stderr, group);
            return CMD_USAGE;
        }
        argument_count--;
        arguments++;
    }
    if (command->table && !asks_for_help(argument_count, arguments) &&
        check_environment(command) != STATUS_OK)
        return CMD_USAGE;
    return command->run(argument_count, arguments);
}

int commands_run(int argument_count, char **arguments) {
    if (argument_count == 0) {
        print_usage(stderr);
        return CMD_USAGE;
    }
    const char *name = arguments[0];
    if (is_help(name)) name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-v") == 0) name = "version";
    const struct command *command = find(commands, name);
    if (!command) {
        fprintf(stderr, "flotilla: there is no command '%s'; `flotilla help` lists them\n", name);
        return CMD_USAGE;
    }
    return run(command, argument_count - 1, arguments + 1);
}
