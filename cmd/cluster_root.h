/* The directory of a cluster on this machine: a temporary one that goes with the cluster, or a
 * given one that stays. */
#ifndef FLOTILLA_CMD_CLUSTER_ROOT_H
#define FLOTILLA_CMD_CLUSTER_ROOT_H

#include "base/slice.h"
#include "base/status.h"

struct cluster_root {
    struct buf path; /* NUL-terminated; empty: there is none */
    bool keep;
};

/* `given`: new or empty; or "" for a temporary one, whose name begins with `name`. EXISTS, IO,
 * INVALID with a sentence. */
enum status cluster_root_make(struct cluster_root *root, const char *given, const char *name,
                              bool keep, struct buf *error) MUST_CHECK;
/* Of a cluster that was there before; it stays. */
void cluster_root_adopt(struct cluster_root *root, const char *path);
/* Removes it, or says on standard error where it is. */
void cluster_root_done(struct cluster_root *root);
const char *cluster_root_path(const struct cluster_root *root);

#endif
