#include <stdio.h>

#include "tests/instructions/paths.h"

struct slice path_key(char text[64], const char *prefix, uint32_t number) {
    /* Spread by a multiplicative hash, so that neighbours in time are not neighbours in order. */
    int len =
        snprintf(text, 64, "%skv/%0*u", prefix, (int)PATH_KEY_BYTES - 3, number * 2654435761u);
    return slice_make(text, (size_t)len);
}

struct slice path_value(void) {
    static const uint8_t value[PATH_VALUE_BYTES] = {'v'};
    return slice_make(value, sizeof(value));
}

void path_put(struct path_command *into, const char *prefix, uint32_t number) {
    into->ops[0] = (struct txn_op){
        .kind = TXN_OP_PUT, .key = path_key(into->keys[0], prefix, number), .value = path_value()};
    into->command = (struct txn_command){.op_count = 1, .ops = into->ops};
}

void path_reservation(struct path_command *into, const char *prefix, uint32_t number) {
    int exposure_len = snprintf(into->keys[0], 64, "%sissuer/MUNI-77/exposure", prefix);
    int row_len =
        snprintf(into->keys[1], 64, "%sissuer/MUNI-77/reservation/R-1-%u", prefix, number);
    memset(into->request_id, 0, sizeof(into->request_id));
    memcpy(into->request_id, &number, sizeof(number));
    into->ops[0] = (struct txn_op){.kind = TXN_OP_ADD,
                                   .key = slice_make(into->keys[0], (size_t)exposure_len),
                                   .delta = 7,
                                   .minimum = 0,
                                   .maximum = INT64_MAX};
    into->ops[1] = (struct txn_op){.kind = TXN_OP_INSERT,
                                   .key = slice_make(into->keys[1], (size_t)row_len),
                                   .value = SLICE_LITERAL("7")};
    into->command =
        (struct txn_command){.request_id = slice_make(into->request_id, sizeof(into->request_id)),
                             .op_count = 2,
                             .ops = into->ops};
}
