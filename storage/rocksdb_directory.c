/* The directory itself: making it durably, and refusing one that holds something else. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/memory.h"
#include "storage/rocksdb_internal.h"

int rocksdb_directory_sync(const char *directory) {
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = fsync(fd), saved = errno;
    (void)close(fd); /* opened for reading only: nothing can be lost */
    errno = saved;
    return result;
}

/* One directory and its name in its parent: without the latter a power cut may take the whole
 * directory with everything that was synced into it. */
static int make_one(char *path) {
    if (mkdir(path, 0755) < 0) return errno == EEXIST ? 0 : -1;
    char *slash = strrchr(path, '/');
    if (!slash) return rocksdb_directory_sync(".");
    if (slash == path) return rocksdb_directory_sync("/");
    *slash = 0;
    int result = rocksdb_directory_sync(path);
    *slash = '/';
    return result;
}

static int make_with_parents(const char *directory) {
    size_t len = strlen(directory);
    char *path = memory_alloc(len + 1);
    memcpy(path, directory, len + 1);
    while (len > 1 && path[len - 1] == '/')
        path[--len] = 0;
    int result = 0;
    for (char *at = path + 1; *at && result == 0; at++) {
        if (*at != '/' || at[-1] == '/') continue;
        *at = 0;
        result = make_one(path);
        *at = '/';
    }
    if (result == 0) result = make_one(path);
    memory_free(path);
    return result;
}

bool rocksdb_directory_holds(const char *directory, const char *name) {
    struct buf path = {0};
    buf_printf(&path, "%s/%s", directory, name);
    buf_append_byte(&path, 0);
    bool there = access((const char *)path.data, F_OK) == 0;
    buf_done(&path);
    return there;
}

bool rocksdb_directory_has_database(const char *directory) {
    return rocksdb_directory_holds(directory, "CURRENT");
}

static bool ends_with(const char *name, const char *end) {
    size_t name_len = strlen(name), end_len = strlen(end);
    return name_len >= end_len && strcmp(name + name_len - end_len, end) == 0;
}

/* What a creation that was interrupted before its last step leaves behind. */
static bool is_left_by_creation(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "LOCK") == 0 ||
           strcmp(name, "IDENTITY") == 0 || strcmp(name, "lost+found") == 0 ||
           strncmp(name, "LOG", 3) == 0 || strncmp(name, "MANIFEST-", 9) == 0 ||
           strncmp(name, "OPTIONS-", 8) == 0 || ends_with(name, ".dbtmp");
}

/* 000123.sst, 000124.log: content. */
static bool is_database_content(const char *name) {
    if (strcmp(name, ROCKSDB_SYNCED_FILE) == 0) return true; /* made after CURRENT */
    return name[0] >= '0' && name[0] <= '9' && (ends_with(name, ".sst") || ends_with(name, ".log"));
}

static enum status refuse_used(const struct rocksdb_engine_config *config, const char *name,
                               struct buf *error) {
    bool content = is_database_content(name);
    enum status status = content ? STATUS_CORRUPTION : STATUS_INVALID;
    struct buf text = {0};
    buf_printf(&text, content ? "it holds %s but the file CURRENT is gone" : "it already holds %s",
               name);
    buf_append_byte(&text, 0);
    rocksdb_engine_explain(error, config, status, (const char *)text.data);
    buf_done(&text);
    return status;
}

/* A directory without a database must be empty, so that nobody's files get mixed with ours, and so
 * that a database that lost its head is not silently replaced by an empty one. */
static enum status check_unused(const struct rocksdb_engine_config *config, struct buf *error) {
    DIR *listing = opendir(config->directory);
    if (!listing) {
        rocksdb_engine_explain(error, config, STATUS_IO, strerror(errno));
        return STATUS_IO;
    }
    char found[NAME_MAX + 1] = "";
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (is_left_by_creation(entry->d_name) || is_database_content(found)) continue;
        snprintf(found, sizeof(found), "%s", entry->d_name);
    }
    (void)closedir(listing); /* only read */
    return *found ? refuse_used(config, found, error) : STATUS_OK;
}

static enum status check_free_space(const struct rocksdb_engine_config *config, struct buf *error) {
    struct statvfs info;
    if (config->min_free_bytes == 0) return STATUS_OK;
    if (statvfs(config->directory, &info) < 0) {
        rocksdb_engine_explain(error, config, STATUS_IO, strerror(errno));
        return STATUS_IO;
    }
    uint64_t free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    if (free_bytes >= config->min_free_bytes) return STATUS_OK;
    char text[96];
    snprintf(text, sizeof(text), "%llu bytes are free, %llu are asked for",
             (unsigned long long)free_bytes, (unsigned long long)config->min_free_bytes);
    rocksdb_engine_explain(error, config, STATUS_NO_SPACE, text);
    return STATUS_NO_SPACE;
}

enum status rocksdb_directory_prepare(const struct rocksdb_engine_config *config,
                                      struct buf *error) {
    const char *directory = config->directory;
    if (!directory || !*directory) {
        rocksdb_engine_explain(error, config, STATUS_INVALID, "no directory was named");
        return STATUS_INVALID;
    }
    if (config->read_only_check && !rocksdb_directory_has_database(directory)) {
        rocksdb_engine_explain(error, config, STATUS_INVALID, "there is no engine in it");
        return STATUS_INVALID;
    }
    if (!config->read_only_check && make_with_parents(directory) < 0) {
        enum status status = errno == ENOSPC ? STATUS_NO_SPACE : STATUS_IO;
        rocksdb_engine_explain(error, config, status, strerror(errno));
        return status;
    }
    enum status status = check_free_space(config, error);
    if (status == STATUS_OK && !rocksdb_directory_has_database(directory))
        status = check_unused(config, error);
    return status;
}
