/* What the engine finds out about its directory before RocksDB does. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/rocksdb_internal.h"

/* Where direct writes are refused, tables must go through the page cache instead of failing. */
Test(storage_directory, direct_writes_are_not_tried_where_they_fail) {
    cr_assert_not(rocksdb_directory_writes_directly("/proc"));
    cr_assert_not(rocksdb_directory_writes_directly("/nowhere/at/all"));
}

/* A directory that was only asked must still be taken for an empty one. */
Test(storage_directory, asking_leaves_nothing_behind) {
    char directory[] = "/tmp/flotilla-directory-XXXXXX";
    cr_assert_not_null(mkdtemp(directory));
    (void)rocksdb_directory_writes_directly(directory); /* either answer will do */
    cr_assert_eq(rmdir(directory), 0, "it is empty");
}
