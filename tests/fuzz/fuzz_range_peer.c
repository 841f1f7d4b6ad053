/* A peer that says anything, before a live group: a range of three replicas on real workers, two
 * honest nodes and a third in whose name the bytes come. No assertion is reachable, nothing that
 * cannot be applied gets into a log, and what is left of the group serves on. A node that a liar
 * has led to contradict the others may stop, with a word.
 *
 *   input   := message*
 *   message := to u8 (bit 0: node 1, else 2; bit 1: a whole frame instead of a message of range 1;
 *              bit 2: time passes afterwards) ‖ length u8 ‖ bytes
 *
 * A peer that appends well-formed commands is a leader, and is obeyed: those are left out. */
#include <setjmp.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/log.h"
#include "raft/message_codec.h"
#include "range/entry_check.h"
#include "range/raft_frame.h"
#include "tests/range/cluster.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIAR 3u
#define MILLISECOND UINT64_C(1000)

static jmp_buf stopped;
static bool may_stop;

static void note_stop(const char *reason) {
    if (!may_stop || strstr(reason, "cannot be applied") || strstr(reason, "answers nobody")) {
        fatal_set_handler(NULL);
        fatal("%s", reason);
    }
    longjmp(stopped, 1);
}

static bool leads(struct slice bytes) {
    struct decoder in = decoder_make(bytes);
    struct arena arena;
    struct raft_message message;
    struct buf why = {0};
    bool commands = false;
    arena_init(&arena, 0);
    if (raft_decode_message(&in, &arena, &message) == STATUS_OK) {
        for (uint32_t i = 0; i < message.entry_count; i++)
            commands = commands || (payload_slice(message.entries[i].payload).len > 0 &&
                                    range_entry_check(&message.entries[i], &why) == STATUS_OK);
        raft_message_done(&message);
    }
    buf_done(&why);
    arena_done(&arena);
    return commands;
}

static bool frame_leads(struct slice frame) {
    struct decoder messages;
    struct range_raft_envelope envelope;
    if (range_raft_frame_open(frame, &messages) != STATUS_OK) return false;
    while (range_raft_frame_next(&messages, &envelope))
        if (envelope.range_id != 0 && leads(envelope.message)) return true;
    return false;
}

static void inject(struct cluster *cluster, uint8_t flags, struct slice bytes) {
    struct buf frame = {0};
    struct range_raft_envelope envelope = {.range_id = 1, .conf_version = 1, .message = bytes};
    if (flags & 2) {
        buf_append(&frame, bytes);
    } else {
        range_raft_frame_begin(&frame);
        range_raft_frame_copy(&frame, &envelope);
    }
    if (!frame_leads(slice_from_buf(&frame)))
        cluster_inject_raft(cluster, LIAR, flags & 1 ? 1 : 2, slice_from_buf(&frame));
    buf_done(&frame);
    cluster_run_us(cluster, flags & 4 ? 50 * MILLISECOND : MILLISECOND);
}

static void write_and_read(struct cluster *cluster) {
    struct buf put = cluster_put(cluster_key(1, "k"), SLICE_LITERAL("v")), value = {0};
    struct txn_outcome outcome = cluster_write(cluster, 1, slice_from_buf(&put));
    ASSERT(outcome.result == TXN_DONE);
    ASSERT(cluster_read(cluster, 1, cluster_key(1, "k"), &value));
    ASSERT(slice_equal(slice_from_buf(&value), SLICE_LITERAL("v")));
    buf_done(&put);
    buf_done(&value);
}

/* Kept, so that what a stopped turn holds is no leak. */
static struct cluster *abandoned[1024];
static size_t abandoned_count;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct decoder in = decoder_make(slice_make(data, size));
    log_set_level(LOG_NONE);
    struct cluster_config config = cluster_config_default(7);
    struct cluster *volatile cluster = cluster_new(&config);
    ASSERT(cluster_wait_leader(cluster, 1) != 0);
    write_and_read(cluster);
    fatal_set_handler(note_stop);
    may_stop = true;
    if (setjmp(stopped) == 0) {
        while (decoder_left(&in) >= 2) {
            uint8_t flags = decode_u8(&in);
            size_t len = decode_u8(&in);
            if (len > decoder_left(&in)) len = decoder_left(&in);
            inject(cluster, flags, decode_fixed(&in, len));
        }
        write_and_read(cluster);
        may_stop = false;
        fatal_set_handler(NULL);
        cluster_free(cluster);
    } else {
        abandoned[abandoned_count++ % (sizeof(abandoned) / sizeof(abandoned[0]))] = cluster;
    }
    fatal_set_handler(NULL);
    return 0;
}
