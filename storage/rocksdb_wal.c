/* Is a write-ahead log torn at its end, or damaged inside?
 *
 * After a power cut the end of the log may be incomplete: what stood there was never acknowledged,
 * and must be forgotten. Damage further in front is something else: behind it stand records that
 * were synced and acknowledged (votes, entries), and a store that starts without them lies to its
 * group. RocksDB offers to stop at the first bad record, whatever stands behind it, or to accept
 * none at all. So the engine asks for the strict mode first; only when that fails, which is seldom,
 * this file reads the logs and says whether the forgiving mode is right.
 *
 * The log's layout (fixed by RocksDB; recycling and compression are off, so these types only):
 *
 *   file     = blocks of 32 KiB; a fragment never crosses a block; a rest below 7 bytes is zeros
 *   fragment = masked CRC32C over type and payload (4, LE) ‖ length (2, LE) ‖ type (1) ‖ payload
 *   type     = 1 full, 2 first, 3 middle, 4 last
 *
 * A write that was cut leaves a bad fragment, or, where the cut met the end of a block, a record of
 * good ones without its last. The verdict is "torn" when no valid fragment stands behind the cut,
 * in its file or in a later file. A power cut that wrote unsynced blocks out of order may look like
 * damage; refusing is the safe side, and the window is what was written since the last sync. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "storage/rocksdb_internal.h"

#define BLOCK_BYTES 32768u
#define HEADER_BYTES 7u
#define TYPE_FULL 1u
#define TYPE_LAST 4u
#define CRC32C_POLYNOMIAL 0x82f63b78u /* reflected */
#define CRC_MASK_DELTA 0xa282ead8u

struct crc_table {
    uint32_t entries[256];
};

static void crc_table_init(struct crc_table *table) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ CRC32C_POLYNOMIAL : crc >> 1;
        table->entries[byte] = crc;
    }
}

static uint32_t masked_crc(const struct crc_table *table, struct slice bytes) {
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < bytes.len; i++)
        crc = table->entries[(crc ^ bytes.data[i]) & 0xff] ^ crc >> 8;
    crc = ~crc;
    return (crc >> 15 | crc << 17) + CRC_MASK_DELTA;
}

/* The length of the valid fragment at `at`; 0 when there is none. */
static size_t fragment_at(const struct crc_table *table, struct slice file, size_t at) {
    size_t block_left = BLOCK_BYTES - at % BLOCK_BYTES;
    if (block_left < HEADER_BYTES || at + HEADER_BYTES > file.len) return 0;
    const uint8_t *header = file.data + at;
    size_t len = header[4] | (size_t)header[5] << 8;
    if (header[6] == 0 || header[6] > TYPE_LAST) return 0;
    if (HEADER_BYTES + len > block_left || at + HEADER_BYTES + len > file.len) return 0;
    uint32_t expected = (uint32_t)header[0] | (uint32_t)header[1] << 8 | (uint32_t)header[2] << 16 |
                        (uint32_t)header[3] << 24;
    if (masked_crc(table, slice_make(header + 6, 1 + len)) != expected) return 0;
    return HEADER_BYTES + len;
}

static size_t block_end(size_t at) {
    return at - at % BLOCK_BYTES + BLOCK_BYTES;
}

/* Where the valid beginning of the file ends, and whether that is inside a record. */
static size_t skip_valid(const struct crc_table *table, struct slice file, bool *ret_inside) {
    size_t at = 0;
    *ret_inside = false;
    while (at < file.len) {
        if (block_end(at) - at < HEADER_BYTES) {
            at = block_end(at);
            continue;
        }
        size_t len = fragment_at(table, file, at);
        if (len == 0) break;
        uint8_t type = file.data[at + HEADER_BYTES - 1];
        *ret_inside = type != TYPE_FULL && type != TYPE_LAST;
        at += len;
    }
    return at < file.len ? at : file.len;
}

/* Whether a valid fragment stands anywhere behind `at`. A damaged length hides where the next one
 * in its block begins, so there every place is tried; each later block begins with one. */
static bool any_valid_behind(const struct crc_table *table, struct slice file, size_t at) {
    size_t end = block_end(at) < file.len ? block_end(at) : file.len;
    for (size_t i = at + 1; i < end; i++)
        if (fragment_at(table, file, i)) return true;
    for (size_t i = block_end(at); i < file.len; i += BLOCK_BYTES)
        if (fragment_at(table, file, i)) return true;
    return false;
}

/* What has been seen so far, from the oldest log to the newest. */
struct judgement {
    struct crc_table table;
    bool torn;    /* one ended early */
    bool damaged; /* and something valid stands behind */
};

static void judge_file(struct judgement *judgement, struct slice file) {
    if (judgement->torn && fragment_at(&judgement->table, file, 0)) judgement->damaged = true;
    bool inside = false;
    size_t valid = skip_valid(&judgement->table, file, &inside);
    if (valid == file.len && !inside) return;
    judgement->torn = true;
    if (any_valid_behind(&judgement->table, file, valid)) judgement->damaged = true;
}

static int judge_path(struct judgement *judgement, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    struct stat info;
    int result = fstat(fd, &info);
    if (result == 0 && info.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes != MAP_FAILED) {
            judge_file(judgement, slice_make(bytes, (size_t)info.st_size));
            result = munmap(bytes, (size_t)info.st_size);
        } else {
            result = -1;
        }
    }
    (void)close(fd); /* opened for reading only */
    return result;
}

static int only_logs(const struct dirent *entry) {
    const char *dot = strchr(entry->d_name, '.');
    return entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && dot && strcmp(dot, ".log") == 0;
}

static int by_number(const struct dirent **left, const struct dirent **right) {
    unsigned long long a = strtoull((*left)->d_name, NULL, 10);
    unsigned long long b = strtoull((*right)->d_name, NULL, 10);
    return a < b ? -1 : a > b;
}

bool rocksdb_wal_is_only_torn(const char *directory) {
    struct judgement judgement = {0};
    struct dirent **logs = NULL;
    struct buf path = {0};
    crc_table_init(&judgement.table);
    int count = scandir(directory, &logs, only_logs, by_number);
    bool readable = count >= 0;
    for (int i = 0; i < count; i++) {
        buf_clear(&path);
        buf_printf(&path, "%s/%s", directory, logs[i]->d_name);
        buf_append_byte(&path, 0);
        if (judge_path(&judgement, (const char *)path.data) != 0) readable = false;
        free(logs[i]);
    }
    free(logs);
    buf_done(&path);
    return readable && judgement.torn && !judgement.damaged;
}
