#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/common.h"

static void text_of(struct buf *buf) {
    buf_append_byte(buf, 0);
}

Test(common, makes_directories_with_their_parents) {
    char root[] = "/tmp/flotilla-common-test-XXXXXX", path[128];
    struct buf error = {0};
    struct stat found;
    cr_assert_not_null(mkdtemp(root));
    snprintf(path, sizeof(path), "%s/a/b//c/", root);
    cr_expect_eq(common_make_directory(path, &error), STATUS_OK);
    cr_expect_eq(common_make_directory(path, &error), STATUS_OK, "it may be there already");
    cr_expect(stat(path, &found) == 0 && S_ISDIR(found.st_mode));
    for (char *slash = path + strlen(path); slash > path + strlen(root) - 1; slash--) {
        if (*slash != '/' && *slash) continue;
        *slash = 0;
        (void)rmdir(path); /* twice where slashes were doubled */
    }
    cr_expect_neq(stat(root, &found), 0, "only what the test made was there");
}

/* The sentence must name the path: the operator has to find the mistake. */
Test(common, says_which_path_is_no_directory) {
    char root[] = "/tmp/flotilla-common-test-XXXXXX", path[128];
    struct buf error = {0};
    cr_assert_not_null(mkdtemp(root));
    snprintf(path, sizeof(path), "%s/file", root);
    cr_assert_eq(common_write_file(path, "x", &error), STATUS_OK);
    cr_expect_neq(common_make_directory(path, &error), STATUS_OK);
    text_of(&error);
    cr_expect_not_null(strstr((char *)error.data, path));
    unlink(path);
    rmdir(root);
    buf_done(&error);
}

/* Whoever waits for the ready file must never read half of it. */
Test(common, writes_a_file_whole_and_leaves_nothing_else) {
    char root[] = "/tmp/flotilla-common-test-XXXXXX", path[128], line[64];
    struct buf error = {0};
    cr_assert_not_null(mkdtemp(root));
    snprintf(path, sizeof(path), "%s/ready", root);
    cr_assert_eq(common_write_file(path, "127.0.0.1:7101", &error), STATUS_OK);
    cr_assert_eq(common_write_file(path, "127.0.0.1:7102", &error), STATUS_OK, "replaces");
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(line, sizeof(line), file));
    cr_expect_str_eq(line, "127.0.0.1:7102\n");
    fclose(file);
    unlink(path);
    cr_expect_eq(rmdir(root), 0, "no temporary file is left");
}

static void make_engine(const char *root, const char *inner) {
    char path[256];
    struct buf error = {0};
    snprintf(path, sizeof(path), "%s/%s/engine", root, inner);
    cr_assert_eq(common_make_directory(path, &error), STATUS_OK);
    snprintf(path, sizeof(path), "%s/%s/engine/CURRENT", root, inner);
    cr_assert_eq(common_write_file(path, "x", &error), STATUS_OK);
}

static void expect_nested(const char *root, const char *inner, const char *named) {
    char path[256];
    struct buf error = {0};
    snprintf(path, sizeof(path), "%s/%s", root, inner);
    enum status status = common_make_data_directory(path, &error);
    text_of(&error);
    if (named) {
        cr_expect_eq(status, STATUS_INVALID, "%s", path);
        cr_expect_not_null(strstr((char *)error.data, named), "%s", (char *)error.data);
    } else {
        cr_expect_eq(status, STATUS_OK, "%s: %s", path, (char *)error.data);
    }
    buf_done(&error);
}

/* `rm -r`, a copy or a restore of one node's directory must not take another one with it. */
Test(common, data_directories_lie_beside_each_other) {
    char root[] = "/tmp/flotilla-common-test-XXXXXX", command[128];
    cr_assert_not_null(mkdtemp(root));
    make_engine(root, "node1");
    make_engine(root, "deep/er/node2");
    expect_nested(root, "node1", NULL);
    expect_nested(root, "node3", NULL);
    expect_nested(root, "", "node1");
    expect_nested(root, "deep", "er/node2");
    expect_nested(root, "node1/other", "node1");
    expect_nested(root, "node1/engine/other", "node1");
    snprintf(command, sizeof(command), "rm -r %s", root);
    cr_expect_eq(system(command), 0);
}
