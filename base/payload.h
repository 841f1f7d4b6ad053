/* Immutable bytes shared by reference count: the data of a log entry, from the proposal until the
 * entry has left every queue. The count is atomic, so payloads may cross threads. */
#ifndef FLOTILLA_BASE_PAYLOAD_H
#define FLOTILLA_BASE_PAYLOAD_H

#include <stdatomic.h>

#include "base/slice.h"

struct payload {
    _Atomic uint32_t refs;
    uint32_t len; /* bytes */
    uint8_t data[];
};

struct payload *payload_new(size_t len);          /* refs 1, data uninitialised: fill it first */
struct payload *payload_copy(struct slice bytes); /* refs 1 */
struct payload *payload_ref(struct payload *payload); /* NULL passes through */
void payload_unref(struct payload *payload);          /* NULL is fine */

static inline struct slice payload_slice(const struct payload *payload) {
    return payload ? slice_make(payload->data, payload->len) : SLICE_EMPTY;
}

#endif
