/* The disk: a preallocated file, overwritten in sequence, each write followed by fdatasync. A file
 * that grows costs twice that, because its size has to be made durable too. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/memory.h"
#include "bench/roof.h"

#define DISK_FILE_BYTES (64u << 20)
#define DISK_BLOCK_BYTES_MAX (64u << 10)

_Static_assert(DISK_FILE_BYTES % DISK_BLOCK_BYTES_MAX == 0, "blocks end where the file ends");

static enum status write_block(int fd, const uint8_t *block, size_t len, off_t at) {
    ssize_t written = pwrite(fd, block, len, at);
    if (written < 0) return errno == ENOSPC ? STATUS_NO_SPACE : STATUS_IO;
    return (size_t)written == len ? STATUS_OK : STATUS_NO_SPACE;
}

/* Written once in full, so that overwriting allocates nothing. */
static enum status fill(int fd, const uint8_t *block) {
    for (off_t at = 0; at < (off_t)DISK_FILE_BYTES; at += DISK_BLOCK_BYTES_MAX) {
        enum status status = write_block(fd, block, DISK_BLOCK_BYTES_MAX, at);
        if (status != STATUS_OK) return status;
    }
    return fsync(fd) == 0 ? STATUS_OK : STATUS_IO;
}

static enum status measure_block(int fd, const uint8_t *block, size_t len, double seconds,
                                 const struct roof_figure *name, struct roof_list *list) {
    struct roof_meter meter;
    off_t at = 0;
    roof_meter_begin(&meter, NULL, seconds);
    for (uint64_t now_us = meter.start_us; now_us < meter.until_us;) {
        enum status status = write_block(fd, block, len, at);
        if (status != STATUS_OK) return status;
        if (fdatasync(fd) != 0) return STATUS_IO;
        uint64_t done_us = roof_now_us();
        histogram_record(&meter.latencies, done_us - now_us);
        meter.units++;
        now_us = done_us;
        at = (at + (off_t)len) % (off_t)DISK_FILE_BYTES;
    }
    roof_meter_end(&meter, name, list);
    return STATUS_OK;
}

enum status roof_measure_disk(const char *directory, double seconds, struct roof_list *list,
                              struct buf *error) {
    static const struct roof_figure small = {
        .key = "fdatasync_4k", .text = "disk: write + fdatasync, 4 KiB", .unit = "syncs"};
    static const struct roof_figure large = {
        .key = "fdatasync_64k", .text = "disk: write + fdatasync, 64 KiB", .unit = "syncs"};
    struct buf path = {0};
    buf_printf(&path, "%s/disk", directory);
    buf_append_byte(&path, '\0');
    const char *name = (const char *)path.data;
    uint8_t *block = memory_alloc(DISK_BLOCK_BYTES_MAX);
    memset(block, 0xa5, DISK_BLOCK_BYTES_MAX);
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    enum status status = fd >= 0 ? fill(fd, block) : STATUS_IO;
    if (status == STATUS_OK) status = measure_block(fd, block, 4096, seconds, &small, list);
    if (status == STATUS_OK)
        status = measure_block(fd, block, DISK_BLOCK_BYTES_MAX, seconds, &large, list);
    if (status != STATUS_OK)
        buf_printf(error, "%s: %s (%s)", name, status_text(status), strerror(errno));
    if (fd >= 0) {
        (void)close(fd);    /* nothing in it is wanted any more */
        (void)unlink(name); /* whoever made the directory removes what is left */
    }
    memory_free(block);
    buf_done(&path);
    return status;
}
