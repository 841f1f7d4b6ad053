/* Starting from what the engine holds. */
#ifndef FLOTILLA_RANGE_RECOVER_H
#define FLOTILLA_RANGE_RECOVER_H

#include "base/slice.h"
#include "base/status.h"

struct range_store;

enum status range_recover(struct range_store *store, struct buf *error) MUST_CHECK;

#endif
