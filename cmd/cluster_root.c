#include "cmd/cluster_root.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/common.h"

static void set_path(struct cluster_root *root, const char *path) {
    buf_assign(&root->path, slice_from_text(path));
    buf_append_byte(&root->path, 0);
}

static enum status make_given(struct cluster_root *root, const char *given, struct buf *error) {
    enum status status = common_make_directory(given, error);
    if (status == STATUS_OK && rmdir(given) != 0) {
        buf_printf(error, "%s is not empty; it wants a directory of its own", given);
        return STATUS_EXISTS;
    }
    if (status == STATUS_OK) status = common_make_directory(given, error);
    if (status == STATUS_OK) set_path(root, given);
    return status;
}

static enum status make_temporary(struct cluster_root *root, const char *name, struct buf *error) {
    const char *base = getenv("TMPDIR");
    struct buf path = {0};
    enum status status = STATUS_OK;
    buf_printf(&path, "%s/%s-XXXXXX", base && base[0] ? base : "/tmp", name);
    buf_append_byte(&path, 0);
    if (mkdtemp((char *)path.data)) {
        set_path(root, (const char *)path.data);
    } else {
        buf_printf(error, "cannot create a temporary directory like %s: %m; give --data-dir",
                   (const char *)path.data);
        status = STATUS_IO;
    }
    buf_done(&path);
    return status;
}

enum status cluster_root_make(struct cluster_root *root, const char *given, const char *name,
                              bool keep, struct buf *error) {
    root->keep = keep;
    return given[0] ? make_given(root, given, error) : make_temporary(root, name, error);
}

void cluster_root_adopt(struct cluster_root *root, const char *path) {
    root->keep = true;
    set_path(root, path);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
    return remove(path);
}

void cluster_root_done(struct cluster_root *root) {
    const char *path = cluster_root_path(root);
    if (!path[0]) return;
    if (root->keep)
        fprintf(stderr, "data and logs are in %s\n", path);
    else if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fprintf(stderr, "could not remove %s completely: %m\n", path);
    buf_done(&root->path);
}

const char *cluster_root_path(const struct cluster_root *root) {
    return root->path.len > 0 ? (const char *)root->path.data : "";
}
