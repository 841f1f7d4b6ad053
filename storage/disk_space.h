/* How full the disk of a directory is. */
#ifndef FLOTILLA_STORAGE_DISK_SPACE_H
#define FLOTILLA_STORAGE_DISK_SPACE_H

#include <stdint.h>

#include "base/status.h"

struct disk_space {
    uint64_t free_bytes;  /* for this process: without what is reserved for root */
    uint64_t total_bytes; /* of the file system, on the same terms: used and free */
};

/* Any thread; also sets the metrics storage_disk_*. IO: the directory cannot be asked. */
enum status disk_space_read(const char *directory, struct disk_space *ret_space) MUST_CHECK;

#endif
