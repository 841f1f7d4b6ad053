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
