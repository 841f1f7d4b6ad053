/* Notes what a process makes durable below $POWERCUT_ROOT, so that a power cut can be staged after
 * a SIGKILL (cut.c). For LD_PRELOAD.
 *
 * The journal $POWERCUT_STATE/journal has one line for each sync that succeeded:
 *
 *   F <inode> <size>                   the file's content, up to there, is on the disk
 *   C <inode> <hex>                    all of a small file, which may be written over later
 *   D <directory> [<name>/<inode>]...  these names are on the disk
 *
 * What was there when a sync began counts, not what others added meanwhile. A file that loses its
 * name keeps another one in $POWERCUT_STATE/kept/<inode>: the cut may undo the loss, and the inode
 * must not be given to another file. */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL_BYTES 4096
#define LINE_BYTES 65536

static bool below_root(const char *path) {
    const char *root = getenv("POWERCUT_ROOT");
    return root && strncmp(path, root, strlen(root)) == 0;
}

/* A test cannot go on without its journal. */
static void note(const char *line, size_t len) {
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/journal", getenv("POWERCUT_STATE"));
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, line, len) != (ssize_t)len) abort();
    close(fd);
}

static size_t describe_directory(const char *path, char *line) {
    size_t len = (size_t)snprintf(line, LINE_BYTES, "D %s", path);
    DIR *listing = opendir(path);
    if (!listing) abort();
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (entry->d_name[0] == '.') continue;
        len += (size_t)snprintf(line + len, LINE_BYTES - len, " %s/%llu", entry->d_name,
                                (unsigned long long)entry->d_ino);
        if (len + 2 * NAME_MAX > LINE_BYTES) abort();
    }
    closedir(listing);
    return len;
}

static size_t describe_file(const char *path, const struct stat *info, char *line) {
    unsigned long long inode = info->st_ino;
    if (info->st_size > SMALL_BYTES)
        return (size_t)snprintf(line, LINE_BYTES, "F %llu %lld", inode, (long long)info->st_size);
    unsigned char bytes[SMALL_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? -1 : pread(fd, bytes, (size_t)info->st_size, 0);
    if (count < 0) return 0; /* its name is gone: nobody will find it */
    close(fd);
    size_t len = (size_t)snprintf(line, LINE_BYTES, "C %llu ", inode);
    for (ssize_t i = 0; i < count; i++)
        len += (size_t)snprintf(line + len, 3, "%02x", bytes[i]);
    return len;
}

/* One sync at a time: the last line about a name or file is believed, so the threads' lines must
 * stand in the order in which they looked. */
static pthread_mutex_t in_order = PTHREAD_MUTEX_INITIALIZER;

static int sync_and_note(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    char link[64], path[PATH_MAX];
    struct stat info;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t path_len = readlink(link, path, sizeof(path) - 1);
    if (path_len > 0) path[path_len] = 0;
    if (path_len <= 0 || !below_root(path) || fstat(fd, &info) < 0) return real(fd);
    char *line = malloc(LINE_BYTES);
    if (!line) abort();
    pthread_mutex_lock(&in_order);
    if (fstat(fd, &info) < 0) abort(); /* what another thread has added since counts, too */
    size_t len =
        S_ISDIR(info.st_mode) ? describe_directory(path, line) : describe_file(path, &info, line);
    int result = real(fd);
    line[len++] = '\n';
    if (result == 0 && len > 1) note(line, len);
    pthread_mutex_unlock(&in_order);
    free(line);
    return result;
}

int fsync(int fd);
int fdatasync(int fd);
int unlink(const char *path);
int rename(const char *from, const char *to);

int fsync(int fd) {
    return sync_and_note(fd, "fsync");
}

int fdatasync(int fd) {
    return sync_and_note(fd, "fdatasync");
}

static void keep(const char *path) {
    struct stat info;
    char kept[PATH_MAX];
    if (!below_root(path) || stat(path, &info) < 0) return;
    snprintf(kept, sizeof(kept), "%s/kept/%llu", getenv("POWERCUT_STATE"),
             (unsigned long long)info.st_ino);
    (void)link(path, kept); /* it may be there already */
}

int unlink(const char *path) {
    keep(path);
    return ((int (*)(const char *))dlsym(RTLD_NEXT, "unlink"))(path);
}

int rename(const char *from, const char *to) {
    keep(to);
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
