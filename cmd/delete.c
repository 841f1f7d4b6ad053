/* `flotilla delete`: removes one key. */
#include "cmd/commands.h"
#include "cmd/kv.h"

struct delete_options {
    struct kv_options kv;
};

static const struct config_option delete_option_table[] = {
    KV_REQUEST_ID(struct delete_options),
    KV_OPTIONS(struct delete_options),
};

static const struct config_table delete_table = {
    .command = "delete",
    .synopsis = "Removes a key; one that is not there is fine. (`flotilla write --guard 'exists "
                "KEY' --delete KEY` is refused then.) Exit codes as of put.",
    .examples = "  flotilla delete greeting\n"
                "  flotilla delete --hex 6772656574\n",
    .options = delete_option_table,
    .option_count = OPTION_COUNT(delete_option_table),
    .operands = "KEY",
    .operands_offset = offsetof(struct delete_options, kv.operands),
    .operands_min = 1,
    .operands_max = 1,
};

static int run(struct kv_session *session, void *target) {
    struct delete_options *options = target;
    struct buf key = {0};
    int exit_code = CMD_USAGE;
    if (kv_bytes(session, "the key", options->kv.operands.items[0].text, &key)) {
        struct txn_op op = {.kind = TXN_OP_DELETE, .key = slice_from_buf(&key)};
        struct txn_command command = {.op_count = 1, .ops = &op};
        exit_code = kv_write(session, &command);
    }
    buf_done(&key);
    return exit_code;
}

static int cmd_delete(int argument_count, char **arguments) {
    struct delete_options options = {0};
    return kv_main(&delete_table, argument_count, arguments, &options, &options.kv, run);
}

const struct command command_delete = {
    .name = "delete",
    .help = "remove a key",
    .run = cmd_delete,
    .table = &delete_table,
};
