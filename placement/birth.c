/* Cutting the key space at birth. */
#include "placement/birth.h"

#include "base/assert.h"

void placement_even_split_keys(struct buf *out, uint32_t range_count) {
    ASSERT(range_count >= 1 && range_count <= PLACEMENT_INITIAL_RANGES_MAX);
    for (uint32_t i = 1; i < range_count; i++) {
        uint32_t at = (uint32_t)((uint64_t)i * 65536u / range_count);
        const uint8_t key[2] = {(uint8_t)(at >> 8), (uint8_t)at};
        encode_bytes(out, slice_make(key, key[1] ? 2 : 1));
    }
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Reads one byte of a key, escaped or not; returns the text behind it, NULL on a bad escape. */
static const char *read_key_byte(const char *at, struct buf *key) {
    if (*at != '\\') {
        buf_append_byte(key, (uint8_t)*at);
        return at + 1;
    }
    if (at[1] == '\\' || at[1] == ',') {
        buf_append_byte(key, (uint8_t)at[1]);
        return at + 2;
    }
    if (at[1] != 'x') return NULL;
    int high = hex_digit(at[2]);
    if (high < 0) return NULL;
    int low = hex_digit(at[3]);
    if (low < 0) return NULL;
    buf_append_byte(key, (uint8_t)(high << 4 | low));
    return at + 4;
}

static enum status check_split_key(struct slice key, struct slice previous, uint32_t number,
                                   size_t bytes_so_far, struct buf *error) {
    if (!key.len)
        buf_printf(error, "split key %u is empty: remove the surplus comma", number);
    else if (key.len > PLACEMENT_KEY_BYTES_MAX)
        buf_printf(error, "split key %u has %zu bytes; at most %u are allowed", number, key.len,
                   PLACEMENT_KEY_BYTES_MAX);
    else if (number > 1 && slice_compare(key, previous) <= 0)
        buf_printf(error,
                   "split key %u does not come after split key %u: list them in ascending "
                   "byte order, each once",
                   number, number - 1);
    else if (number >= PLACEMENT_INITIAL_RANGES_MAX)
        buf_printf(error, "more than %u split keys", PLACEMENT_INITIAL_RANGES_MAX - 1);
    else if (bytes_so_far + key.len > PLACEMENT_SPLIT_KEYS_BYTES_MAX)
        buf_printf(error, "split keys take more than %u bytes", PLACEMENT_SPLIT_KEYS_BYTES_MAX);
    else
        return STATUS_OK;
    return STATUS_INVALID;
}

enum status placement_parse_split_keys(const char *text, struct buf *out, uint32_t *ret_count,
                                       struct buf *error) {
    enum status status = STATUS_OK;
    struct buf key = {0}, previous = {0};
    uint32_t count = 0;
    const char *at = text;
    while (at && *text) {
        buf_clear(&key);
        while (at && *at && *at != ',')
            at = read_key_byte(at, &key);
        count++;
        if (!at) {
            buf_printf(error, "split key %u: a backslash must start \\xHH, \\\\ or \\,", count);
            status = STATUS_INVALID;
            goto out;
        }
        status = check_split_key(slice_from_buf(&key), slice_from_buf(&previous), count, out->len,
                                 error);
        if (status) goto out;
        encode_bytes(out, slice_from_buf(&key));
        buf_assign(&previous, slice_from_buf(&key));
        if (!*at) break;
        at++;
    }
    *ret_count = count;
out:
    buf_done(&key);
    buf_done(&previous);
    return status;
}

void placement_birth_descriptor(uint32_t number, struct slice start, struct slice end,
                                const uint64_t *node_ids, uint32_t node_count,
                                uint32_t replication_factor,
                                struct placement_descriptor *ret_descriptor) {
    ASSERT(replication_factor >= 1 && replication_factor <= PLACEMENT_REPLICAS_MAX);
    ASSERT_CMP(replication_factor, <=, node_count);
    struct placement_descriptor *descriptor = ret_descriptor;
    descriptor->range_id = (uint64_t)number + 1;
    buf_assign(&descriptor->start, start);
    buf_assign(&descriptor->end, end);
    descriptor->epoch = (struct placement_epoch){1, 1};
    descriptor->next_replica_id = replication_factor + 1;
    descriptor->replica_count = replication_factor;
    for (uint32_t i = 0; i < replication_factor; i++)
        descriptor->replicas[i] = (struct placement_replica){
            .replica_id = i + 1,
            .node_id = node_ids[(number + i) % node_count],
            .role = PLACEMENT_VOTER,
        };
    ASSERT(placement_descriptor_valid(descriptor));
}
