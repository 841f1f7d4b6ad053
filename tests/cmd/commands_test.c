#include "cmd/commands.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned count;

static void check_command(void *ctx, const struct command *command) {
    const char *called = command->table->command;
    size_t len = strlen(called), name_len = strlen(command->name);
    count++;
    cr_expect(command->run && command->help[0], "%s", called);
    cr_expect(len >= name_len && strcmp(called + len - name_len, command->name) == 0,
              "the options of '%s' call it '%s'", command->name, called);
    cr_expect(command->table->examples && command->table->synopsis, "%s", called);
}

/* Help, the check of the environment and whatever else reads the table see every command. */
Test(commands, each_has_a_name_options_and_examples) {
    commands_each(check_command, NULL);
    cr_assert_geq(count, 25);
}

static int run(const char *first, const char *second, const char *third) {
    char *arguments[] = {(char *)(uintptr_t)first, (char *)(uintptr_t)second,
                         (char *)(uintptr_t)third};
    int argument_count = !first ? 0 : !second ? 1 : !third ? 2 : 3;
    FILE *out = freopen("/dev/null", "w", stdout), *err = freopen("/dev/null", "w", stderr);
    cr_assert(out && err);
    return commands_run(argument_count, arguments);
}

Test(commands, help_finds_every_part) {
    cr_expect_eq(run("help", NULL, NULL), CMD_OK);
    cr_expect_eq(run("help", "admin", NULL), CMD_OK);
    cr_expect_eq(run("help", "admin", "status"), CMD_OK);
    cr_expect_eq(run("help", "write", NULL), CMD_OK);
    cr_expect_eq(run("help", "bench", "shred"), CMD_USAGE);
    cr_expect_eq(run("bench", "--help", NULL), CMD_OK);
    cr_expect_eq(run("shred", NULL, NULL), CMD_USAGE);
    cr_expect_eq(run(NULL, NULL, NULL), CMD_USAGE);
}

/* Whoever sets FLOTILLA_ROUTRE believes that it is in force; help is given all the same. */
Test(commands, refuse_variables_that_no_command_reads) {
    setenv("FLOTILLA_ELECTION_TIMEOUT_MS", "300", 1); /* a node's; others ignore it */
    cr_expect_eq(run("bench", "split-keys", NULL), CMD_OK);
    setenv("FLOTILLA_ROUTRE", "127.0.0.1:7000", 1);
    cr_expect_eq(run("bench", "split-keys", NULL), CMD_USAGE);
    cr_expect_eq(run("bench", "split-keys", "--help"), CMD_OK);
    cr_expect_eq(run("version", NULL, NULL), CMD_OK);
}
