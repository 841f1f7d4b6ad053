/* flotilla: one binary, a subcommand per role. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/signals.h"

/* Read by jemalloc at start. Huge pages: an insert into a large memtable touches some twenty pages,
 * and looking up small ones took a tenth of a put's processor time. MALLOC_CONF in the environment
 * wins. */
extern const char *malloc_conf;
const char *malloc_conf = "thp:always";

struct command {
    const char *name;
    int (*run)(int argument_count, char **arguments);
    const char *help;
};

static int run_version(int argument_count, char **arguments);
static int run_help(int argument_count, char **arguments);

static const struct command commands[] = {
    {"placement", cmd_placement,
     "placement driver: cluster birth, node ids, timestamps, range map"},
    {"node", cmd_node, "range store: one engine, one transport, many range replicas"},
    {"router", cmd_router, "what clients talk to: finds ranges and leaders, sees requests through"},
    {"bench", cmd_bench, "load generator that verifies: hot-issuer, put, get, mixed, verify"},
    {"admin", cmd_admin, "cluster status, moving a range's leader"},
    {"demo", cmd_demo, "a whole cluster on this machine, under load, with a failure on request"},
    {"version", run_version, "print the version"},
    {"help", run_help, "this text; `flotilla help COMMAND` for a command's options"},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static const struct command *find_command(const char *name) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static void print_usage(FILE *out) {
    fprintf(out,
            "flotilla %s: a multi-Raft sharded range store\n\n"
            "  flotilla COMMAND [--option VALUE ...]\n\n",
            common_version());
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(
        out,
        "\nEvery option is a flag (--data-dir), a key of the --config FILE (data-dir:), and an\n"
        "environment variable (FLOTILLA_DATA_DIR); flags win over environment over file.\n\n"
        "A cluster on this machine, one terminal each:\n\n"
        "  flotilla placement --data-dir p1\n"
        "  flotilla node --data-dir n1 --listen 127.0.0.1:7101\n"
        "  flotilla node --data-dir n2 --listen 127.0.0.1:7102\n"
        "  flotilla node --data-dir n3 --listen 127.0.0.1:7103\n"
        "  flotilla router\n"
        "  flotilla bench hot-issuer --duration-s 10\n\n"
        "Or all of it at once: flotilla demo --seconds 20 --kill-leader\n");
}

static int run_version(int argument_count, char **arguments) {
    printf("flotilla %s\n%s\n", common_version(), common_libraries());
    return CMD_OK;
}

static int run_help(int argument_count, char **arguments) {
    if (argument_count == 0) {
        print_usage(stdout);
        return CMD_OK;
    }
    const struct command *command = find_command(arguments[0]);
    if (!command) {
        common_complain_text("help", "there is no command '%s'; `flotilla help` lists them",
                             arguments[0]);
        return CMD_USAGE;
    }
    char help[] = "--help";
    char *help_arguments[] = {help};
    if (command->run == run_help) return run_help(0, NULL);
    return command->run(1, help_arguments);
}

#if defined(__has_feature)
#define LOOKS_FOR_LEAKS (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOOKS_FOR_LEAKS 1
#else
#define LOOKS_FOR_LEAKS 0
#endif

/* A command has closed all that it opened. What libraries would still do at the exit, for the sake
 * of memory that the kernel takes back anyway, comes after the last line of the log and keeps ports
 * and locks from who waits for the end. Sanitizers report at the exit, so they get theirs. */
static int leave(int code) {
    if (LOOKS_FOR_LEAKS) return code;
    (void)fflush(NULL); /* nobody to tell when they are gone */
    _exit(code);
}

int main(int argument_count, char **arguments) {
    signals_block();
    descriptors_raise();
    if (argument_count < 2) {
        print_usage(stderr);
        return CMD_USAGE;
    }
    const char *name = arguments[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0) name = "version";
    const struct command *command = find_command(name);
    if (!command) {
        fprintf(stderr, "flotilla: there is no command '%s'; `flotilla help` lists them\n", name);
        return CMD_USAGE;
    }
    return leave(command->run(argument_count - 2, arguments + 2));
}
