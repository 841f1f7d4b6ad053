/* Stages a power cut below a directory whose processes were killed: powercut STATE ROOT SEED
 *
 * By the journal of preload.c: names that were not synced are gone, names that were taken away are
 * back, files end where they were last synced, small ones have the content that was synced. A seed
 * above 0 lets a part of each file's unsynced end survive, as a disk may have written it already.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINES_MAX 200000

static char *lines[LINES_MAX]; /* the newest is the last */
static size_t line_count;
static const char *state;
static unsigned long long random_state;

#define NEED(condition) ((condition) ? (void)0 : fail(#condition))
static void fail(const char *what) {
    fprintf(stderr, "powercut: %s\n", what);
    exit(2);
}

static unsigned long long draw(unsigned long long below) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (random_state >> 33) % below;
}

static void read_journal(void) {
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/journal", state);
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    NEED(file);
    while (getline(&line, &cap, file) > 0) {
        NEED(line_count < LINES_MAX);
        line[strcspn(line, "\n")] = 0;
        NEED(lines[line_count++] = strdup(line));
    }
    free(line);
    fclose(file);
}

static const char *last_of_file(unsigned long long inode) {
    for (size_t i = line_count; i-- > 0;)
        if ((lines[i][0] == 'F' || lines[i][0] == 'C') && strtoull(lines[i] + 2, NULL, 10) == inode)
            return lines[i];
    return NULL;
}

/* The names in it, or NULL: it was never synced. */
static const char *last_of_directory(const char *path) {
    for (size_t i = line_count; i-- > 0;) {
        size_t len = strlen(path);
        if (lines[i][0] != 'D' || strncmp(lines[i] + 2, path, len) != 0) continue;
        if (lines[i][2 + len] == ' ' || lines[i][2 + len] == 0) return lines[i] + 2 + len;
    }
    return NULL;
}

static void cut_file(const char *path, const struct stat *info) {
    const char *line = last_of_file(info->st_ino);
    if (line && line[0] == 'C') {
        const char *hex = strchr(line + 2, ' ') + 1;
        long long synced = (long long)strlen(hex) / 2;
        int fd = open(path, O_WRONLY);
        NEED(fd >= 0);
        for (long long i = 0; i < synced; i++) {
            unsigned byte;
            NEED(sscanf(hex + 2 * i, "%2x", &byte) == 1);
            unsigned char one = (unsigned char)byte;
            NEED(pwrite(fd, &one, 1, i) == 1);
        }
        close(fd);
    }
    long long synced = 0;
    if (line && line[0] == 'F') synced = strtoll(strchr(line + 2, ' '), NULL, 10);
    if (line && line[0] == 'C') synced = (long long)strlen(strchr(line + 2, ' ') + 1) / 2;
    if (info->st_size <= synced) return;
    if (random_state) synced += (long long)draw((unsigned long long)(info->st_size - synced) + 1);
    NEED(truncate(path, synced) == 0);
}

static bool is_listed(const char *names, const char *name, unsigned long long inode) {
    char entry[NAME_MAX + 32];
    snprintf(entry, sizeof(entry), " %s/%llu", name, inode);
    const char *at = names ? strstr(names, entry) : NULL;
    return at && (at[strlen(entry)] == ' ' || at[strlen(entry)] == 0);
}

static void bring_back(const char *directory, const char *names) {
    for (const char *at = names; at && *at == ' '; at += 1 + strcspn(at + 1, " ")) {
        char name[NAME_MAX + 1], path[PATH_MAX], kept[PATH_MAX];
        unsigned long long inode;
        NEED(sscanf(at, " %255[^/]/%llu", name, &inode) == 2);
        snprintf(path, sizeof(path), "%s/%s", directory, name);
        snprintf(kept, sizeof(kept), "%s/kept/%llu", state, inode);
        if (access(path, F_OK) != 0) (void)link(kept, path); /* not kept: it is elsewhere */
    }
}

static void cut_directory(const char *directory) {
    const char *names = last_of_directory(directory);
    char path[PATH_MAX];
    struct stat info;
    for (int pass = 0; pass < 2; pass++) {
        DIR *listing = opendir(directory);
        NEED(listing);
        for (struct dirent *entry; (entry = readdir(listing));) {
            if (entry->d_name[0] == '.') continue;
            snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
            NEED(lstat(path, &info) == 0);
            if (S_ISDIR(info.st_mode)) {
                if (pass == 1) cut_directory(path);
            } else if (pass == 0) {
                if (!is_listed(names, entry->d_name, info.st_ino)) NEED(unlink(path) == 0);
            } else {
                cut_file(path, &info);
            }
        }
        closedir(listing);
        if (pass == 0) bring_back(directory, names);
    }
}

int main(int argument_count, char **arguments) {
    NEED(argument_count == 4);
    state = arguments[1];
    random_state = strtoull(arguments[3], NULL, 10);
    read_journal();
    cut_directory(arguments[2]);
    return 0;
}
