#include "storage/disk_space.h"

#include <sys/statvfs.h>

#include "storage/metrics.h"

enum status disk_space_read(const char *directory, struct disk_space *ret_space) {
    struct statvfs info;
    if (statvfs(directory, &info) < 0) return STATUS_IO;
    uint64_t used_blocks = (uint64_t)info.f_blocks - info.f_bfree;
    ret_space->free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    ret_space->total_bytes = (used_blocks + info.f_bavail) * info.f_frsize;
    metric_set(&metric_storage_disk_free_bytes, (int64_t)ret_space->free_bytes);
    metric_set(&metric_storage_disk_bytes, (int64_t)ret_space->total_bytes);
    return STATUS_OK;
}
