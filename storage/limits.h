/* Bounds of the storage layer. They are far above what users may send (docs: key 4 KiB, value
 * 1 MiB), so reaching one is a programmer's error and asserted, not reported. */
#ifndef FLOTILLA_STORAGE_LIMITS_H
#define FLOTILLA_STORAGE_LIMITS_H

#include <assert.h>
#include <stdint.h>

#define STORAGE_USER_KEY_BYTES_MAX 4096u

/* Of a key inside a family: an encoded user key whose every byte was escaped, plus prefix, version
 * suffix and request id. The engine also needs it to name a key that is behind all others. */
#define STORAGE_KEY_BYTES_MAX 16384u

/* Of one value inside a family: a full log entry or a record of a snapshot chunk. */
#define STORAGE_VALUE_BYTES_MAX (64u << 20)

/* Bulk installations that may be staged at the same time: bounds open files and disk in use. */
#define STORAGE_INGESTS_MAX 64u

static_assert(STORAGE_KEY_BYTES_MAX >= 2u * STORAGE_USER_KEY_BYTES_MAX + 1024u,
              "an escaped user key, its framing and a request id must fit in an engine key");
static_assert(STORAGE_VALUE_BYTES_MAX < UINT32_MAX, "lengths are kept in 32 bits");

#endif
