/* The real engine under SIGKILL, a full disk, damage, and foreign or busy directories. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/prng.h"
#include "storage/rocksdb_engine.h"
#include "tests/storage/children.h"
#include "tests/storage/harness.h"

struct writer {
    const char *directory;
    int acknowledged_fd;         /* each synced counter is reported here */
    uint64_t count;              /* of writes to make; 0: until killed */
    size_t padding_bytes;        /* per batch */
    uint64_t write_buffer_bytes; /* 0: the engine's default */
    uint64_t acknowledged;       /* for the verifier */
};

static void put_counter(struct storage_batch *batch, enum storage_family family, const char *key,
                        uint64_t counter) {
    storage_batch_put(batch, family, TEXT(key), slice_make(&counter, sizeof(counter)));
}

static uint64_t get_counter(struct storage_engine *engine, enum storage_family family,
                            const char *key) {
    struct buf value = {0};
    uint64_t counter = 0;
    enum status status = storage_get(engine, NULL, family, TEXT(key), &value);
    CHILD_CHECK(status == STATUS_OK || status == STATUS_NOT_FOUND);
    if (status == STATUS_OK) {
        CHILD_CHECK(value.len == sizeof(counter));
        memcpy(&counter, value.data, sizeof(counter));
    }
    buf_done(&value);
    return counter;
}

/* Writes batches that touch three families, every third one synced and then reported. Ends with the
 * status of the first failed write, negated, or 0. */
static int write_counters(void *ctx) {
    struct writer *writer = ctx;
    struct storage_engine *engine =
        child_open_buffered(writer->directory, writer->write_buffer_bytes);
    struct storage_batch *batch = storage_batch_new(engine);
    struct buf padding = {0};
    buf_reserve(&padding, writer->padding_bytes + 1);
    ASSERT(padding.data);
    memset(padding.data, 'p', writer->padding_bytes);
    padding.len = writer->padding_bytes;
    uint64_t first = get_counter(engine, STORAGE_RAFT, "counter") + 1;
    enum status status = STATUS_OK;
    for (uint64_t counter = first; writer->count == 0 || counter < first + writer->count;
         counter++) {
        char key[32];
        snprintf(key, sizeof(key), "row%012llu", (unsigned long long)counter);
        storage_batch_clear(batch);
        put_counter(batch, STORAGE_RAFT, "counter", counter);
        storage_batch_put(batch, STORAGE_DATA, TEXT(key), slice_from_buf(&padding));
        put_counter(batch, STORAGE_META, "counter", counter);
        bool synced = counter % 3 == 0;
        status = storage_write(engine, batch, synced ? STORAGE_SYNCED : STORAGE_BUFFERED);
        if (status != STATUS_OK) break;
        if (synced)
            CHILD_CHECK(write(writer->acknowledged_fd, &counter, sizeof(counter)) ==
                        sizeof(counter));
    }
    if (status != STATUS_OK)
        CHILD_CHECK(storage_write(engine, batch, STORAGE_BUFFERED) ==
                    status); /* and stays failed */
    buf_done(&padding);
    storage_batch_free(batch);
    storage_close(engine);
    return -(int)status;
}

/* All families agree, nothing acknowledged is missing, and there are rows up to the counter. */
static int verify_counters(void *ctx) {
    struct writer *writer = ctx;
    struct storage_engine *engine = child_open(writer->directory);
    uint64_t counter = get_counter(engine, STORAGE_RAFT, "counter");
    CHILD_CHECK(get_counter(engine, STORAGE_META, "counter") == counter);
    CHILD_CHECK(counter >= writer->acknowledged);
    struct storage_iterator *it =
        storage_iterator_new(engine, NULL, STORAGE_DATA, SLICE_EMPTY, SLICE_EMPTY);
    uint64_t rows = 0;
    for (storage_iterator_seek_first(it); storage_iterator_valid(it); storage_iterator_next(it)) {
        CHILD_CHECK(storage_iterator_value(it).len == writer->padding_bytes);
        rows++;
    }
    CHILD_CHECK(storage_iterator_status(it) == STATUS_OK);
    CHILD_CHECK(rows == counter);
    storage_iterator_free(it);
    storage_close(engine);
    return 0;
}

static uint64_t drain_acknowledged(int fd, uint64_t last) {
    uint64_t counter;
    while (read(fd, &counter, sizeof(counter)) == sizeof(counter))
        last = counter;
    return last;
}

/* Whatever was acknowledged before a SIGKILL is there afterwards, and batches are whole. */
Test(rocksdb_crash, keeps_what_was_acknowledged_before_a_kill, .timeout = 60) {
    char directory[64];
    scratch_directory(directory);
    struct prng prng;
    prng_init(&prng, 42);
    struct writer writer = {.directory = directory, .padding_bytes = 700};
    for (int round = 0; round < 8; round++) {
        int fds[2];
        cr_assert_eq(pipe(fds), 0);
        writer.acknowledged_fd = fds[1];
        pid_t pid = child_start(write_counters, &writer);
        close(fds[1]);
        /* Killed at a random time after its first acknowledgement. */
        uint64_t first;
        cr_assert_eq(read(fds[0], &first, sizeof(first)), sizeof(first));
        cr_assert_gt(first, writer.acknowledged);
        usleep((useconds_t)prng_below(&prng, 60000));
        cr_assert_eq(kill(pid, SIGKILL), 0);
        cr_assert_eq(child_wait(pid), 128 + SIGKILL);
        writer.acknowledged = drain_acknowledged(fds[0], first);
        close(fds[0]);
        cr_assert_eq(child_run(verify_counters, &writer), 0, "round %d", round);
    }
    remove_tree(directory);
}

/* ---- full disk ---- */

/* Non-blocking, so that a writer whose acknowledgements nobody reads yet does not stop. */
static void run_until_failure(struct writer *writer, int (*run)(void *), int *ret_code) {
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    cr_assert_gt(fcntl(fds[1], F_SETPIPE_SZ, 1 << 20), 0);
    writer->acknowledged_fd = fds[1];
    *ret_code = child_run(run, writer);
    close(fds[1]);
    writer->acknowledged = drain_acknowledged(fds[0], 0);
    close(fds[0]);
}

/* A full file system fails writes with NO_SPACE, and nothing acknowledged is lost once there is
 * space again. Needs the right to mount. */
Test(rocksdb_crash, full_disk_fails_writes_and_loses_nothing, .timeout = 60) {
    char directory[64];
    scratch_directory(directory);
    if (mount("tmpfs", directory, "tmpfs", 0, "size=24m") != 0) {
        remove_tree(directory);
        cr_skip_test("mounting a small file system is not allowed here");
    }
    struct writer writer = {.directory = directory, .padding_bytes = 4096};
    int code = 0;
    run_until_failure(&writer, write_counters, &code);
    bool mended = mount("tmpfs", directory, "tmpfs", MS_REMOUNT, "size=200m") == 0;
    int verified = mended ? child_run(verify_counters, &writer) : -1;
    cr_assert_eq(umount(directory), 0);
    remove_tree(directory);
    cr_assert_eq(code, -STATUS_NO_SPACE, "%d", code);
    cr_assert_gt(writer.acknowledged, 100);
    cr_assert(mended);
    cr_assert_eq(verified, 0);
}

static int write_with_file_limit(void *ctx) {
    struct rlimit limit = {2 << 20, 2 << 20};
    CHILD_CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    return write_counters(ctx);
}

/* A write that the kernel cuts short is an error, and what was acknowledged before it is there. */
Test(rocksdb_crash, refused_file_growth_fails_the_write, .timeout = 60) {
    char directory[64];
    scratch_directory(directory);
    struct writer writer = {.directory = directory, .padding_bytes = 4096};
    int code = 0;
    run_until_failure(&writer, write_with_file_limit, &code);
    cr_assert_eq(code, -STATUS_IO);
    cr_assert_gt(writer.acknowledged, 100);
    cr_assert_eq(child_run(verify_counters, &writer), 0);
    remove_tree(directory);
}

/* ---- directories ---- */

struct opening {
    struct rocksdb_engine_config config;
    const char *mentions; /* what the error text must hold */
};

/* The status, negated; checks that the text names the directory and the way out. */
static int try_open(void *ctx) {
    struct opening *opening = ctx;
    struct storage_engine *engine = NULL;
    struct buf error = {0};
    enum status status = rocksdb_engine_open(&opening->config, &error, &engine);
    if (status != STATUS_OK) {
        buf_append_byte(&error, 0);
        const char *text = (const char *)error.data;
        CHILD_CHECK(strstr(text, opening->config.directory));
        CHILD_CHECK(!opening->mentions || strstr(text, opening->mentions));
        CHILD_CHECK(engine == NULL);
    }
    buf_done(&error);
    storage_close(engine);
    return -(int)status;
}

static void write_file(const char *directory, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    cr_assert_eq(fclose(file), 0);
}

/* Somebody else's files are never mixed with ours. */
Test(rocksdb_directory, refuses_one_that_holds_something_else) {
    char directory[64];
    scratch_directory(directory);
    write_file(directory, "thesis.tex", "years of work");
    struct opening opening = {{.directory = directory}, "thesis.tex"};
    cr_assert_eq(child_run(try_open, &opening), -STATUS_INVALID);
    remove_tree(directory);
}

/* A database whose head is gone must not be replaced by an empty one. */
Test(rocksdb_directory, refuses_one_whose_database_lost_its_head) {
    char directory[64], path[128];
    scratch_directory(directory);
    struct opening opening = {{.directory = directory}, "CURRENT"};
    cr_assert_eq(child_run(try_open, &opening), 0);
    snprintf(path, sizeof(path), "%s/CURRENT", directory);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(child_run(try_open, &opening), -STATUS_CORRUPTION);
    remove_tree(directory);
}

/* A typing error in a path must not build a database somewhere; missing parents are made. */
Test(rocksdb_directory, is_made_with_its_parents_unless_only_checked) {
    char directory[64], nested[128];
    scratch_directory(directory);
    snprintf(nested, sizeof(nested), "%s/a/b//c/", directory);
    struct opening opening = {{.directory = nested, .read_only_check = true}, "no engine"};
    cr_assert_eq(child_run(try_open, &opening), -STATUS_INVALID);
    cr_assert_neq(access(nested, F_OK), 0);
    opening.config.read_only_check = false;
    cr_assert_eq(child_run(try_open, &opening), 0);
    opening.config.read_only_check = true;
    cr_assert_eq(child_run(try_open, &opening), 0);
    struct opening unnamed = {{.directory = ""}, "no directory"};
    cr_assert_eq(child_run(try_open, &unnamed), -STATUS_INVALID);
    remove_tree(directory);
}

/* Two processes on one directory would destroy it. */
Test(rocksdb_directory, is_locked_by_the_process_that_uses_it) {
    char directory[64];
    scratch_directory(directory);
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    struct writer writer = {.directory = directory, .acknowledged_fd = fds[1]};
    pid_t pid = child_start(write_counters, &writer);
    uint64_t counter;
    cr_assert_eq(read(fds[0], &counter, sizeof(counter)), sizeof(counter));
    struct opening opening = {{.directory = directory}, "stop the other process"};
    cr_assert_eq(child_run(try_open, &opening), -STATUS_LOCKED);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    (void)child_wait(pid); /* killed by us */
    cr_assert_eq(child_run(try_open, &opening), 0);
    remove_tree(directory);
}

/* Starting on a disk that is nearly full only makes it worse. */
Test(rocksdb_directory, is_refused_without_enough_free_space) {
    char directory[64];
    scratch_directory(directory);
    struct opening opening = {{.directory = directory, .min_free_bytes = UINT64_MAX}, "are free"};
    cr_assert_eq(child_run(try_open, &opening), -STATUS_NO_SPACE);
    remove_tree(directory);
}

/* ---- damage ---- */

/* The largest file whose name ends like this. */
static void find_file(const char *directory, const char *end, char ret_path[512]) {
    off_t largest = -1;
    DIR *listing = opendir(directory);
    cr_assert_not_null(listing);
    for (struct dirent *entry; (entry = readdir(listing));) {
        char path[512];
        struct stat info;
        size_t len = strlen(entry->d_name);
        if (len < strlen(end) || strcmp(entry->d_name + len - strlen(end), end) != 0) continue;
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        cr_assert_eq(stat(path, &info), 0);
        if (info.st_size <= largest) continue;
        largest = info.st_size;
        memcpy(ret_path, path, sizeof(path));
    }
    closedir(listing);
    cr_assert_geq(largest, 0, "no file ends with %s", end);
}

static void flip_byte(const char *path, double at) {
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    int fd = open(path, O_RDWR);
    off_t offset = (off_t)((double)info.st_size * at);
    uint8_t byte;
    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void write_all(struct writer *writer) {
    int code = 0;
    run_until_failure(writer, write_counters, &code);
    cr_assert_eq(code, 0);
}

static void write_some(const char *directory, uint64_t count, size_t padding_bytes,
                       struct writer *ret_writer) {
    *ret_writer =
        (struct writer){.directory = directory, .count = count, .padding_bytes = padding_bytes};
    write_all(ret_writer);
}

/* A power cut leaves a torn last record, or a tail of zeros where the file had grown already: both
 * are normal, and cost at most what was not synced. */
Test(rocksdb_damage, torn_tail_of_the_log_is_normal, .timeout = 60) {
    struct prng prng;
    prng_init(&prng, 5);
    for (int round = 0; round < 6; round++) {
        char directory[64], path[512];
        struct writer writer;
        struct stat info;
        scratch_directory(directory);
        write_some(directory, 40, 30000, &writer);
        find_file(directory, ".log", path);
        cr_assert_eq(stat(path, &info), 0);
        off_t cut = info.st_size - 1 - (off_t)prng_below(&prng, 29000); /* in the last record */
        cr_assert_eq(truncate(path, cut), 0);
        if (round % 2) cr_assert_eq(truncate(path, info.st_size + 4096), 0);
        cr_assert_eq(child_run(verify_counters, &writer), 0, "round %d", round);
        remove_tree(directory);
    }
}

/* A kill cuts a write where a page ends, so often where a block of the log ends: then every
 * fragment is valid, and only the end of the last record is missing. */
Test(rocksdb_damage, log_cut_between_fragments_of_a_record_is_normal, .timeout = 60) {
    char directory[64], path[512];
    struct writer writer;
    struct stat info;
    scratch_directory(directory);
    write_some(directory, 40, 30000, &writer);
    find_file(directory, ".log", path);
    cr_assert_eq(stat(path, &info), 0);
    off_t cut = info.st_size - info.st_size % 32768;
    cr_assert_lt(info.st_size - cut, 30000); /* so it is in the last record, which is not synced */
    cr_assert_eq(truncate(path, cut), 0);
    cr_assert_eq(child_run(verify_counters, &writer), 0);
    remove_tree(directory);
}

/* Damage in the middle of the log is not a torn tail: behind it stand votes and entries that others
 * were told are safe. Refusing to start is right, starting without them would be a lie. Both large
 * records, over many blocks, and small ones, many in a block. */
Test(rocksdb_damage, flipped_byte_inside_the_log_is_refused, .timeout = 60) {
    static const struct {
        uint64_t count;
        size_t padding_bytes;
        double at;
    } cases[] = {
        {40, 30000, 0.5}, {40, 30000, 0.01}, {300, 10, 0.3}, {300, 10, 0.99}, {3000, 10, 0.5}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char directory[64], path[512];
        struct writer writer;
        scratch_directory(directory);
        write_some(directory, cases[i].count, cases[i].padding_bytes, &writer);
        find_file(directory, ".log", path);
        flip_byte(path, cases[i].at);
        struct opening opening = {{.directory = directory}, "move-replica"};
        cr_assert_eq(child_run(try_open, &opening), -STATUS_CORRUPTION, "case %zu", i);
        opening.config.read_only_check = true;
        cr_assert_eq(child_run(try_open, &opening), -STATUS_CORRUPTION, "case %zu", i);
        remove_tree(directory);
    }
}

/* Damage in a table is found by the check for tools, although opening does not read it. Far more is
 * written than the write buffers hold, so that tables are there however late the flushes are: the
 * close does not wait for them. */
Test(rocksdb_damage, flipped_byte_inside_a_table_is_found_by_the_check, .timeout = 60) {
    char directory[64], path[512];
    scratch_directory(directory);
    struct opening opening = {{.directory = directory, .read_only_check = true}, NULL};
    struct writer writer = {.directory = directory,
                            .count = 600,
                            .padding_bytes = 30000,
                            .write_buffer_bytes = 2 << 20};
    write_all(&writer);
    cr_assert_eq(child_run(try_open, &opening), 0);
    find_file(directory, ".sst", path);
    flip_byte(path, 0.5);
    opening.mentions = "move-replica";
    cr_assert_eq(child_run(try_open, &opening), -STATUS_CORRUPTION);
    remove_tree(directory);
}
