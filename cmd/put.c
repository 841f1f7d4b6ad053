/* `flotilla put`: sets the value of one key. */
#include "cmd/commands.h"
#include "cmd/kv.h"

struct put_options {
    struct kv_options kv;
};

static const struct config_option put_option_table[] = {
    KV_REQUEST_ID(struct put_options),
    KV_OPTIONS(struct put_options),
};

static const struct config_table put_table = {
    .command = "put",
    .synopsis = "Sets the value of a key; a VALUE of - is standard input, as it is, to its end. "
                "Sent again with the same request id until it is decided. Exit code 0: done, "
                "1: refused (the request id was used for something else), 2: called wrongly, "
                "3: not done in time, nothing was changed, 4: unknown; the text says how to go on.",
    .examples = "  flotilla put greeting 'hello, world'\n"
                "  flotilla put picture - <picture.jpg\n"
                "  flotilla put --hex 6772656574 68656c6c6f\n"
                "  flotilla put offset -- -17x            # what begins with a dash\n",
    .options = put_option_table,
    .option_count = OPTION_COUNT(put_option_table),
    .operands = "KEY VALUE",
    .operands_offset = offsetof(struct put_options, kv.operands),
    .operands_min = 2,
    .operands_max = 2,
};

static int run(struct kv_session *session, void *target) {
    struct put_options *options = target;
    const struct config_list_item *items = options->kv.operands.items;
    struct buf key = {0}, value = {0};
    int exit_code = CMD_USAGE;
    bool from_input = strcmp(items[1].text, "-") == 0;
    if (kv_bytes(session, "the key", items[0].text, &key) &&
        (from_input ? kv_read_input(session, &value)
                    : kv_bytes(session, "the value", items[1].text, &value))) {
        struct txn_op op = {
            .kind = TXN_OP_PUT, .key = slice_from_buf(&key), .value = slice_from_buf(&value)};
        struct txn_command command = {.op_count = 1, .ops = &op};
        exit_code = kv_write(session, &command);
    }
    buf_done(&key);
    buf_done(&value);
    return exit_code;
}

static int cmd_put(int argument_count, char **arguments) {
    struct put_options options = {0};
    return kv_main(&put_table, argument_count, arguments, &options, &options.kv, run);
}

const struct command command_put = {
    .name = "put",
    .help = "set the value of a key",
    .run = cmd_put,
    .table = &put_table,
};
