/* Runs a fuzz target once over every file of the given directories, so that the committed corpus is
 * an ordinary test that needs no clang. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void die(const char *path) {
    perror(path);
    exit(1);
}

static void replay_file(const char *path) {
    FILE *file = fopen(path, "re");
    if (!file) die(path);
    struct buf bytes = {0};
    for (size_t got = 1; got > 0;) {
        buf_reserve(&bytes, 4096);
        got = fread(bytes.data + bytes.len, 1, 4096, file);
        bytes.len += got;
    }
    if (ferror(file)) die(path);
    (void)fclose(file); /* only read */
    /* Of exact size, so that a sanitizer sees any step over the end. */
    uint8_t *exact = malloc(bytes.len > 0 ? bytes.len : 1);
    if (!exact) die(path);
    memcpy(exact, bytes.data, bytes.len);
    printf("%s (%zu bytes)\n", path, bytes.len);
    if (fflush(stdout) != 0) die("standard output"); /* the name must be out before a crash */
    (void)LLVMFuzzerTestOneInput(exact, bytes.len);  /* always 0 */
    free(exact);
    buf_done(&bytes);
}

static unsigned replay_directory(const char *path) {
    DIR *directory = opendir(path);
    if (!directory) die(path);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.') continue;
        char file_path[4096];
        if (snprintf(file_path, sizeof(file_path), "%s/%s", path, entry->d_name) >=
            (int)sizeof(file_path)) {
            die("a path is too long");
        }
        replay_file(file_path);
        count++;
    }
    (void)closedir(directory); /* only read */
    return count;
}

int main(int argc, char **argv) {
    unsigned count = 0;
    for (int i = 1; i < argc; i++)
        count += replay_directory(argv[i]);
    printf("%u inputs replayed\n", count);
    return count > 0 ? 0 : 1; /* an empty corpus protects nothing */
}
