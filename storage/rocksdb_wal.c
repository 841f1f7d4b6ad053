/* Are the write-ahead logs complete, torn at their end, or damaged?
 *
 * After a power cut the end of the log may be incomplete: what stood there was never acknowledged,
 * and must be forgotten. Damage further in front is something else, and so is a log that is gone,
 * or cut: behind it stand records that were synced and acknowledged (votes, entries), and a store
 * that starts without them lies to its group. RocksDB replays whatever valid records it finds, in
 * silence: it does not miss a log, and skips zeros. So this file reads the logs once before RocksDB
 * does, and says whether every write from the first log that is still needed to the last synced one
 * is there. The bounds come from rocksdb_synced.c.
 *
 * The log's layout (fixed by RocksDB; recycling and compression are off, so these types only):
 *
 *   file     = blocks of 32 KiB; a fragment never crosses a block; a rest below 7 bytes is zeros
 *   fragment = masked CRC32C over type and payload (4, LE) ‖ length (2, LE) ‖ type (1) ‖ payload
 *   type     = 1 full, 2 first, 3 middle, 4 last
 *   record   = the payloads of a full fragment, or of a first to a last one
 *            = sequence number of its first operation (8, LE) ‖ count (4, LE) ‖ operations
 *
 * Each operation takes one number, so a record begins where the one before it ended, over all logs.
 * An installed file (rocksdb_ingest.c) takes a number, too, without a record: it is announced by a
 * note in the log before, and another one after it. A number may be missing between the two.
 *
 * A write that was cut leaves a bad fragment, or, where the cut met the end of a block, a record of
 * good ones without its last. The verdict is "torn" when no valid fragment stands behind the cut in
 * its file, and a later log begins with the very next number. A power cut that wrote unsynced
 * blocks out of order may look like damage; refusing is the safe side, and the window is what was
 * written since the last sync. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/codec.h"
#include "base/memory.h"
#include "storage/rocksdb_internal.h"

#define BLOCK_BYTES 32768u
#define HEADER_BYTES 7u
#define TYPE_FULL 1u
#define TYPE_FIRST 2u
#define TYPE_LAST 4u
#define CRC32C_POLYNOMIAL 0x82f63b78u /* reflected */
#define CRC_MASK_DELTA 0xa282ead8u

struct crc_table {
    uint32_t entries[256];
};

/* The tags of operations in a record that this engine writes (RocksDB's ValueType). */
enum operation_tag {
    TAG_DELETE = 0x0,
    TAG_PUT = 0x1,
    TAG_NOTE = 0x3, /* log data: in the log only */
    TAG_FAMILY_DELETE = 0x4,
    TAG_FAMILY_PUT = 0x5,
    TAG_NOTHING = 0xd,
    TAG_FAMILY_DELETE_RANGE = 0xe,
    TAG_DELETE_RANGE = 0xf,
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

/* What has been seen so far, from the oldest needed log to the newest. */
struct judgement {
    struct crc_table table;
    const struct rocksdb_wal_bounds *bounds;
    struct buf *reason; /* gets the first fault; stays empty while there is none */
    const char *name;   /* of the log that is read */
    struct buf record;
    bool torn; /* the log before, or this one, ended early */
    bool any_torn;
    bool any_records;     /* in a log that was read */
    bool expects;         /* `expected` is known */
    uint64_t expected;    /* the sequence number of the next record */
    uint64_t installing;  /* files that are being installed here */
    uint64_t numbers;     /* that these took so far, as the gaps show */
    uint64_t unexplained; /* numbers that are missing without a known installation */
    struct buf gap;       /* says where the first of these is */
};

static void fault(struct judgement *judgement, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void fault(struct judgement *judgement, const char *format, ...) {
    if (judgement->reason->len > 0) return;
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* names are short */
    va_end(arguments);
    buf_printf(judgement->reason, "%s", text);
}

/* ---- records ---- */

static void judge_note(struct judgement *judgement, struct slice note) {
    if (slice_equal(note, SLICE_LITERAL(ROCKSDB_NOTE_INSTALLING))) {
        judgement->installing++;
    } else if (slice_equal(note, SLICE_LITERAL(ROCKSDB_NOTE_INSTALLED))) {
        /* One whose beginning stood in a log that is not needed any more explains a gap, too. */
        if (judgement->installing == 0 && judgement->unexplained > 0) judgement->unexplained--;
        if (judgement->installing > 0) judgement->installing--;
        if (judgement->numbers > 0) judgement->numbers--;
    }
}

/* False: not an operation of ours. */
static bool judge_operation(struct judgement *judgement, struct decoder *decoder) {
    enum operation_tag tag = decode_u8(decoder);
    bool of_family =
        tag == TAG_FAMILY_DELETE || tag == TAG_FAMILY_PUT || tag == TAG_FAMILY_DELETE_RANGE;
    if (of_family) (void)decode_varint(decoder); /* which one does not matter here */
    switch (tag) {
    case TAG_NOTHING:
        return true;
    case TAG_NOTE:
        judge_note(judgement, decode_bytes(decoder));
        return true;
    case TAG_PUT:
    case TAG_FAMILY_PUT:
    case TAG_DELETE_RANGE:
    case TAG_FAMILY_DELETE_RANGE:
        (void)decode_bytes(decoder);
        /* fall through */
    case TAG_DELETE:
    case TAG_FAMILY_DELETE:
        (void)decode_bytes(decoder);
        return true;
    }
    return false;
}

static void judge_gap(struct judgement *judgement, uint64_t sequence) {
    uint64_t missing = sequence - judgement->expected;
    uint64_t announced = judgement->installing - judgement->numbers;
    uint64_t explained = missing < announced ? missing : announced;
    judgement->numbers += explained;
    judgement->unexplained += missing - explained;
    if (missing > explained && judgement->gap.len == 0)
        buf_printf(&judgement->gap,
                   "write-ahead log %s goes on with write %" PRIu64 " where write %" PRIu64
                   " should stand: a part of the log is missing",
                   judgement->name, sequence, judgement->expected);
}

static void judge_record(struct judgement *judgement) {
    struct decoder decoder = decoder_make(slice_from_buf(&judgement->record));
    uint64_t sequence = decode_u64(&decoder);
    uint32_t count = decode_u32(&decoder);
    /* RocksDB begins a log with an empty record after a torn one, and numbers it behind the last
     * record that it read: an installed file may have taken that number. */
    if (count == 0 && decoder_left(&decoder) == 0 && !decoder.failed) return;
    if (judgement->expects && sequence < judgement->expected)
        fault(judgement,
              "write-ahead log %s holds write %" PRIu64 " behind write %" PRIu64
              ": it is of another time",
              judgement->name, sequence, judgement->expected - 1);
    if (judgement->expects && sequence > judgement->expected) judge_gap(judgement, sequence);
    judgement->expects = judgement->any_records = true;
    judgement->expected = sequence + count;
    bool known = true;
    while (known && !decoder.failed && decoder_left(&decoder) > 0)
        known = judge_operation(judgement, &decoder);
    if (!known || decoder.failed)
        fault(judgement, "write-ahead log %s holds a record that does not parse", judgement->name);
}

/* Reads fragments up to the first that is not valid; returns where that is. */
static size_t judge_fragments(struct judgement *judgement, struct slice file, bool *ret_inside) {
    size_t at = 0;
    bool inside = false;
    while (at < file.len) {
        if (block_end(at) - at < HEADER_BYTES) {
            at = block_end(at);
            continue;
        }
        size_t len = fragment_at(&judgement->table, file, at);
        if (len == 0) break;
        uint8_t type = file.data[at + HEADER_BYTES - 1];
        bool begins = type == TYPE_FULL || type == TYPE_FIRST;
        if (begins == inside)
            fault(judgement, "write-ahead log %s is damaged at byte %zu", judgement->name, at);
        if (begins) buf_clear(&judgement->record);
        buf_append(&judgement->record,
                   slice_make(file.data + at + HEADER_BYTES, len - HEADER_BYTES));
        inside = type != TYPE_FULL && type != TYPE_LAST;
        if (!inside) judge_record(judgement);
        at += len;
    }
    *ret_inside = inside;
    return at < file.len ? at : file.len;
}

static void judge_file(struct judgement *judgement, struct slice file) {
    bool chained = judgement->bounds->chained;
    /* Without numbers that are known to be complete, nothing may follow a torn log. */
    if (!chained && judgement->torn && fragment_at(&judgement->table, file, 0))
        fault(judgement, "write-ahead log %s follows one that ends early", judgement->name);
    if (!chained) judgement->expects = false;
    bool inside = false;
    size_t valid = judge_fragments(judgement, file, &inside);
    if (valid == file.len && !inside) return;
    judgement->torn = judgement->any_torn = true;
    if (any_valid_behind(&judgement->table, file, valid))
        fault(judgement, "write-ahead log %s is damaged at byte %zu, in front of writes",
              judgement->name, valid);
}

/* ---- files ---- */

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

static uint64_t number_of(const struct dirent *entry) {
    return strtoull(entry->d_name, NULL, 10);
}

static int by_number(const struct dirent **left, const struct dirent **right) {
    uint64_t a = number_of(*left), b = number_of(*right);
    return a < b ? -1 : a > b;
}

static void free_list(struct dirent **logs, int count) {
    for (int i = 0; i < count; i++)
        free(logs[i]);
    free(logs);
}

int rocksdb_wal_newest(const char *directory, uint64_t *ret_number) {
    struct dirent **logs = NULL;
    int count = scandir(directory, &logs, only_logs, by_number);
    if (count < 0) return -1;
    *ret_number = count > 0 ? number_of(logs[count - 1]) : 0;
    free_list(logs, count);
    return 0;
}

/* The ends of the chain, once all logs are read. */
static void judge_ends(struct judgement *judgement) {
    const struct rocksdb_wal_bounds *bounds = judgement->bounds;
    if (judgement->unexplained > 0)
        fault(judgement, "%.*s", (int)judgement->gap.len, (const char *)judgement->gap.data);
    uint64_t end = judgement->expects ? judgement->expected - 1 : bounds->flushed_sequence;
    if (end < bounds->synced_sequence)
        fault(judgement,
              "the write-ahead logs end with write %" PRIu64 " but writes up to %" PRIu64
              " were synced: the newest log, or its end, is missing",
              end, bounds->synced_sequence);
}

static int judge_logs(struct judgement *judgement, const char *directory, struct dirent **logs,
                      int count) {
    const struct rocksdb_wal_bounds *bounds = judgement->bounds;
    struct buf path = {0};
    int result = 0;
    bool first_seen = false;
    for (int i = 0; i < count && result == 0; i++) {
        uint64_t number = number_of(logs[i]);
        if (number < bounds->first_log) continue;
        /* The first one that is needed knows where the chain begins, so it must be there, and hold
         * something if a later one does. */
        if (bounds->first_log_exists && number != bounds->first_log && !first_seen) break;
        bool was_empty = first_seen && !judgement->any_records;
        first_seen = true;
        judgement->name = logs[i]->d_name;
        buf_clear(&path);
        buf_printf(&path, "%s/%s", directory, logs[i]->d_name);
        buf_append_byte(&path, 0);
        result = judge_path(judgement, (const char *)path.data);
        if (bounds->first_log_exists && !bounds->begins && was_empty && judgement->any_records)
            fault(judgement, "write-ahead log %06" PRIu64 ".log is empty but a later one is not",
                  bounds->first_log);
    }
    if (bounds->first_log_exists && !first_seen)
        fault(judgement, "write-ahead log %06" PRIu64 ".log is missing", bounds->first_log);
    buf_done(&path);
    return result;
}

enum status rocksdb_wal_judge(const char *directory, const struct rocksdb_wal_bounds *bounds,
                              struct buf *reason, bool *ret_torn) {
    struct judgement judgement = {.bounds = bounds,
                                  .reason = reason,
                                  .expects = bounds->begins,
                                  .expected = bounds->begin_sequence + 1};
    struct dirent **logs = NULL;
    crc_table_init(&judgement.table);
    int count = scandir(directory, &logs, only_logs, by_number);
    enum status status = STATUS_OK;
    if (count < 0 || judge_logs(&judgement, directory, logs, count) < 0) {
        buf_printf(reason, "read the write-ahead logs: %s", strerror(errno));
        status = STATUS_IO;
    } else {
        if (bounds->chained) judge_ends(&judgement);
        if (reason->len > 0) status = STATUS_CORRUPTION;
        *ret_torn = judgement.any_torn;
    }
    free_list(logs, count);
    buf_done(&judgement.record);
    buf_done(&judgement.gap);
    return status;
}
