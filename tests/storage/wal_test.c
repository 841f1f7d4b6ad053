/* Write-ahead logs with a hole: whatever is missing of what was synced, the engine refuses to open,
 * says what is wrong and what to do, and leaves the files as they are. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/rocksdb_engine.h"
#include "tests/storage/children.h"
#include "tests/storage/harness.h"

#define WRITE_BUFFER_BYTES (4u << 20)
#define VALUE_BYTES 30000u
#define WRITES_PER_LOG 15u              /* of that size */
#define WRITES (3 * WRITES_PER_LOG + 5) /* four logs; the next one would start a flush */
#define LOGS 4

static void write_rows(struct storage_engine *engine, unsigned count) {
    static uint8_t value[VALUE_BYTES];
    struct storage_batch *batch = storage_batch_new(engine);
    for (unsigned i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof(key), "row%06u", i);
        storage_batch_clear(batch);
        storage_batch_put(batch, STORAGE_DATA, TEXT(key), slice_make(value, sizeof(value)));
        CHILD_CHECK(storage_write(engine, batch, STORAGE_SYNCED) == STATUS_OK);
    }
    storage_batch_free(batch);
}

static int only_logs(const struct dirent *entry) {
    size_t len = strlen(entry->d_name);
    return len > 4 && strcmp(entry->d_name + len - 4, ".log") == 0;
}

/* Ascending: the numbers have the same length here. */
static int list_directory(const char *directory, struct dirent ***ret_entries) {
    return scandir(directory, ret_entries, only_logs, alphasort);
}

static int count_logs(const char *directory) {
    struct dirent **entries = NULL;
    int count = list_directory(directory, &entries);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    return count;
}

/* Logs of a life that nothing ended properly. */
static int write_and_die(void *directory) {
    struct storage_engine *engine = child_open_buffered(directory, WRITE_BUFFER_BYTES);
    write_rows(engine, WRITES);
    raise(SIGKILL);
    return 1;
}

/* The same behind logs that were flushed and dropped. */
static int flush_write_and_die(void *directory) {
    struct storage_engine *engine = child_open_buffered(directory, WRITE_BUFFER_BYTES);
    write_rows(engine, 4 * WRITES_PER_LOG + 5);
    while (count_logs(directory) > 1) /* the flush drops them when it is done */
        usleep(1000);
    write_rows(engine, WRITES - 5);
    raise(SIGKILL);
    return 1;
}

/* A life whose content is in tables, then one of logs. */
static int write_tables(void *directory) {
    struct storage_engine *engine = child_open_buffered(directory, WRITE_BUFFER_BYTES);
    write_rows(engine, WRITES);
    storage_close(engine);
    return 0;
}

static void make_logs(char directory[64], bool behind_a_flush) {
    scratch_directory(directory);
    cr_assert_eq(child_run(write_tables, directory), 0);
    cr_assert_eq(child_run(behind_a_flush ? flush_write_and_die : write_and_die, directory),
                 128 + SIGKILL);
}

struct opening {
    struct rocksdb_engine_config config;
    const char *mentions[3]; /* what the error text must hold */
};

static int try_open(void *ctx) {
    struct opening *opening = ctx;
    struct storage_engine *engine = NULL;
    struct buf error = {0};
    enum status status = rocksdb_engine_open(&opening->config, &error, &engine);
    buf_append_byte(&error, 0);
    for (unsigned i = 0; status != STATUS_OK && i < 3 && opening->mentions[i]; i++)
        if (!strstr((const char *)error.data, opening->mentions[i]))
            (fprintf(stderr, "wants %s\n", opening->mentions[i]),
             child_failed(__FILE__, __LINE__, (const char *)error.data));
    buf_done(&error);
    storage_close(engine);
    return -(int)status;
}

/* ---- files ---- */

struct logs {
    char paths[LOGS][512];
    const char *names[LOGS];
    unsigned count;
};

static void list_logs(const char *directory, struct logs *ret_logs) {
    struct dirent **entries = NULL;
    int count = list_directory(directory, &entries);
    cr_assert_eq(count, LOGS, "%d logs", count);
    ret_logs->count = (unsigned)count;
    for (int i = 0; i < count; i++) {
        snprintf(ret_logs->paths[i], 512, "%s/%s", directory, entries[i]->d_name);
        ret_logs->names[i] = strrchr(ret_logs->paths[i], '/') + 1;
        free(entries[i]);
    }
    free(entries);
}

static off_t size_of(const char *path) {
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    return info.st_size;
}

/* The place of the last record's first fragment, found as a reader of the log would; `half`: of the
 * one in the middle. */
static off_t record_boundary(const char *path, bool half) {
    off_t size = size_of(path), boundaries[1024] = {0};
    unsigned count = 0;
    int fd = open(path, O_RDONLY);
    for (off_t at = 0; at + 7 <= size;) {
        uint8_t header[7];
        if (32768 - at % 32768 < 7) {
            at += 32768 - at % 32768;
            continue;
        }
        cr_assert_eq(pread(fd, header, 7, at), 7);
        if (header[6] == 0) break;
        if (header[6] <= 2 && count < 1024) boundaries[count++] = at;
        at += 7 + (header[4] | header[5] << 8);
    }
    close(fd);
    cr_assert_gt(count, 2);
    return boundaries[half ? count / 2 : count - 1];
}

static void fill_with_zeros(const char *path) {
    off_t size = size_of(path);
    cr_assert_eq(truncate(path, 0), 0);
    cr_assert_eq(truncate(path, size), 0);
}

static void copy_file(const char *from, const char *to) {
    static char bytes[4 << 20];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ssize_t len = read(in, bytes, sizeof(bytes));
    cr_assert(len >= 0 && len < (ssize_t)sizeof(bytes));
    cr_assert_eq(write(out, bytes, (size_t)len), len);
    close(in);
    close(out);
}

/* ---- what may be missing ---- */

enum damage {
    NOTHING,
    OLDEST_REMOVED,
    OLDEST_EMPTIED,
    OLDEST_CUT,
    MIDDLE_REMOVED,
    MIDDLE_EMPTIED,
    MIDDLE_CUT,
    MIDDLE_ZEROED,
    NEWEST_REMOVED,
    NEWEST_EMPTIED,
    NEWEST_CUT,
    NEWEST_ZEROED,
    ALL_REMOVED,
    ANOTHER_LIFE,
    DAMAGE_COUNT,
};

/* The log that the refusal must name; NULL: any. */
static const char *do_damage(const struct logs *logs, enum damage damage) {
    unsigned middle = 1, newest = logs->count - 1;
    static char another[512];
    switch (damage) {
    case OLDEST_REMOVED:
        cr_assert_eq(unlink(logs->paths[0]), 0);
        return logs->names[0];
    case OLDEST_EMPTIED:
        cr_assert_eq(truncate(logs->paths[0], 0), 0);
        return NULL;
    case OLDEST_CUT:
        cr_assert_eq(truncate(logs->paths[0], record_boundary(logs->paths[0], true)), 0);
        return logs->names[1];
    case MIDDLE_REMOVED:
        cr_assert_eq(unlink(logs->paths[middle]), 0);
        return logs->names[middle + 1];
    case MIDDLE_EMPTIED:
        cr_assert_eq(truncate(logs->paths[middle], 0), 0);
        return logs->names[middle + 1];
    case MIDDLE_CUT:
        cr_assert_eq(truncate(logs->paths[middle], record_boundary(logs->paths[middle], true)), 0);
        return logs->names[middle + 1];
    case MIDDLE_ZEROED:
        fill_with_zeros(logs->paths[middle]);
        return logs->names[middle + 1];
    case NEWEST_REMOVED:
        cr_assert_eq(unlink(logs->paths[newest]), 0);
        return NULL;
    case NEWEST_EMPTIED:
        cr_assert_eq(truncate(logs->paths[newest], 0), 0);
        return NULL;
    case NEWEST_CUT:
        cr_assert_eq(truncate(logs->paths[newest], record_boundary(logs->paths[newest], false)), 0);
        return NULL;
    case NEWEST_ZEROED:
        fill_with_zeros(logs->paths[newest]);
        return NULL;
    case ALL_REMOVED:
        for (unsigned i = 0; i < logs->count; i++)
            cr_assert_eq(unlink(logs->paths[i]), 0);
        return logs->names[0];
    case ANOTHER_LIFE:
        snprintf(another, sizeof(another), "%.*s/999999.log",
                 (int)(logs->names[0] - logs->paths[0] - 1), logs->paths[0]);
        copy_file(logs->paths[0], another);
        return "999999.log";
    default:
        return NULL;
    }
}

/* An older log that is removed, emptied, cut between two records or full of zeros is a hole; the
 * newest one that is, has lost what was acknowledged; one of another life was never written here.
 * RocksDB replays all of these without a word. The refusal changes nothing: the second try is
 * refused, too, as is the look of a tool. */
Test(rocksdb_wal, hole_is_refused_with_the_way_out, .timeout = 240) {
    for (unsigned i = 0; i < 2 * DAMAGE_COUNT; i++) {
        char directory[64];
        struct logs logs;
        enum damage damage = i / 2;
        make_logs(directory, i % 2);
        list_logs(directory, &logs);
        const char *named = do_damage(&logs, damage);
        struct opening opening = {{.directory = directory, .read_only_check = true},
                                  {"move-replica", "write-ahead log", named}};
        enum status expected = damage == NOTHING ? STATUS_OK : STATUS_CORRUPTION;
        for (unsigned times = 0; times < 4; times++) {
            opening.config.read_only_check = times < 2;
            cr_assert_eq(child_run(try_open, &opening), -expected, "damage %d, flushed %u", damage,
                         i % 2);
        }
        remove_tree(directory);
    }
}

/* Cuts the first file whose name begins and ends so to `kept` bytes; 0: removes it. */
static void damage_file(const char *directory, const char *start, const char *end, off_t kept) {
    DIR *listing = opendir(directory);
    bool removed = false;
    for (struct dirent *entry; !removed && (entry = readdir(listing));) {
        size_t len = strlen(entry->d_name);
        if (strncmp(entry->d_name, start, strlen(start)) != 0 || len < strlen(end) ||
            strcmp(entry->d_name + len - strlen(end), end) != 0)
            continue;
        if (kept > 0) {
            int fd = openat(dirfd(listing), entry->d_name, O_WRONLY);
            cr_assert(fd >= 0 && ftruncate(fd, kept) == 0);
            (void)close(fd); /* of a test */
        } else {
            cr_assert_eq(unlinkat(dirfd(listing), entry->d_name, 0), 0);
        }
        removed = true;
    }
    closedir(listing);
    cr_assert(removed, "%s…%s", start, end);
}

static void remove_ending(const char *directory, const char *start, const char *end) {
    damage_file(directory, start, end, 0);
}

/* Any other file that is gone is damage, too, with the same way out: not an error of input, and not
 * a reason to begin anew. */
Test(rocksdb_wal, missing_file_is_damage, .timeout = 60) {
    static const char *const files[][2] = {
        {"CURRENT", ""}, {"MANIFEST-", ""}, {"", ".sst"}, {"SYNCED", ""}};
    for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char directory[64];
        make_logs(directory, false);
        remove_ending(directory, files[i][0], files[i][1]);
        struct opening opening = {{.directory = directory}, {"move-replica"}};
        for (int times = 0; times < 2; times++)
            cr_assert_eq(child_run(try_open, &opening), -STATUS_CORRUPTION, "%s", files[i][0]);
        remove_tree(directory);
    }
}

/* A MANIFEST that was cut is damage, too: RocksDB may call what is left of it an invalid argument,
 * as if the directory were another program's. That of a first life names one family after the
 * other.
 */
Test(rocksdb_wal, cut_manifest_is_damage, .timeout = 120) {
    for (off_t kept = 30; kept < 250; kept += 10) {
        char directory[64];
        scratch_directory(directory);
        cr_assert_eq(child_run(write_and_die, directory), 128 + SIGKILL);
        damage_file(directory, "MANIFEST-", "", kept);
        struct opening opening = {{.directory = directory}, {"move-replica"}};
        int result = child_run(try_open, &opening);
        /* Behind a cut at its end the logs have what it said. */
        cr_expect(result == -STATUS_CORRUPTION || result == STATUS_OK, "cut to %d bytes: %d",
                  (int)kept, result);
        remove_tree(directory);
    }
}

/* What the operator is told can be put for another kind of process. */
Test(rocksdb_wal, way_out_is_that_of_the_process) {
    char directory[64];
    make_logs(directory, false);
    remove_ending(directory, "MANIFEST-", "");
    struct opening opening = {{.directory = directory, .way_out_when_damaged = "ask the admiral"},
                              {"ask the admiral", directory}};
    cr_assert_eq(child_run(try_open, &opening), -STATUS_CORRUPTION);
    remove_tree(directory);
}

struct interrupted {
    const char *directory;
    unsigned delay_us;
};

_Noreturn static int open_and_die(void *ctx) {
    struct interrupted *interrupted = ctx;
    ualarm(interrupted->delay_us, 0); /* its signal ends the process */
    struct storage_engine *engine = child_open_buffered(interrupted->directory, WRITE_BUFFER_BYTES);
    write_rows(engine, WRITES / 4);
    for (;;)
        pause();
}

/* An open that is interrupted, again and again and at any instant, is no hole: the chain of the
 * logs is judged by what was there before it. */
Test(rocksdb_wal, interrupted_open_is_no_hole, .timeout = 120) {
    char directory[64];
    make_logs(directory, false);
    for (unsigned round = 0; round < 40; round++) {
        struct interrupted interrupted = {directory, 500 + round * 1500};
        cr_assert_eq(child_run(open_and_die, &interrupted), 128 + SIGALRM, "round %u", round);
    }
    struct opening opening = {{.directory = directory}, {NULL}};
    cr_assert_eq(child_run(try_open, &opening), 0);
    remove_tree(directory);
}

struct neighbour {
    struct storage_engine *engine;
    atomic_bool stop;
};

static void *write_beside(void *ctx) {
    struct neighbour *neighbour = ctx;
    struct storage_batch *batch = storage_batch_new(neighbour->engine);
    storage_batch_put(batch, STORAGE_LOCK, TEXT("beside"), TEXT("1"));
    while (!atomic_load(&neighbour->stop))
        CHILD_CHECK(storage_write(neighbour->engine, batch, STORAGE_BUFFERED) == STATUS_OK);
    storage_batch_free(batch);
    return NULL;
}

static void install(struct storage_engine *engine) {
    struct storage_batch *batch = storage_batch_new(engine);
    struct storage_ingest *ingest = NULL;
    CHILD_CHECK(storage_ingest_new(engine, &ingest) == STATUS_OK);
    for (enum storage_family family = STORAGE_DATA; family <= STORAGE_META; family++)
        CHILD_CHECK(storage_ingest_add(ingest, family, TEXT("row"), TEXT("new")) == STATUS_OK);
    const struct storage_span spans[] = {{STORAGE_DATA, TEXT("row"), TEXT("rox")}};
    storage_batch_put(batch, STORAGE_RAFT, TEXT("installed"), TEXT("1"));
    CHILD_CHECK(storage_ingest_commit(ingest, spans, 1, batch) == STATUS_OK);
    storage_ingest_free(ingest);
    storage_batch_free(batch);
}

static int install_and_die(void *directory) {
    struct storage_engine *engine = child_open(directory);
    struct neighbour neighbour = {.engine = engine};
    pthread_t thread;
    CHILD_CHECK(pthread_create(&thread, NULL, write_beside, &neighbour) == 0);
    for (int round = 0; round < 5; round++) {
        write_rows(engine, 3);
        install(engine);
    }
    atomic_store(&neighbour.stop, true);
    CHILD_CHECK(pthread_join(thread, NULL) == 0);
    write_rows(engine, 3);
    raise(SIGKILL);
    return 1;
}

/* An installed file takes a sequence number that no record in the log has. That is no hole, also
 * where others write at the same time. */
Test(rocksdb_wal, installed_files_are_no_hole, .timeout = 60) {
    char directory[64];
    scratch_directory(directory);
    cr_assert_eq(child_run(install_and_die, directory), 128 + SIGKILL);
    struct opening opening = {{.directory = directory}, {NULL}};
    cr_assert_eq(child_run(try_open, &opening), 0);
    remove_tree(directory);
}
