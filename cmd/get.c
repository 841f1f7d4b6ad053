/* `flotilla get`: the value of one key. */
#include <inttypes.h>
#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/kv.h"

struct get_options {
    struct kv_options kv;
};

static const struct config_option get_option_table[] = {
    KV_STALE(struct get_options),
    KV_OPTIONS(struct get_options),
};

static const struct config_table get_table = {
    .command = "get",
    .synopsis = "Prints the value of a key and ends the line. Exit code 0: found, 1: there is no "
                "such key, 2: called wrongly, 3: nobody could tell in time.",
    .examples = "  flotilla get greeting\n"
                "  flotilla get greeting --json          # with its version\n"
                "  flotilla get --hex 6772656574\n"
                "  flotilla get greeting --stale --router 127.0.0.1:7101\n",
    .options = get_option_table,
    .option_count = OPTION_COUNT(get_option_table),
    .operands = "KEY",
    .operands_offset = offsetof(struct get_options, kv.operands),
    .operands_min = 1,
    .operands_max = 1,
};

struct get {
    struct kv_session *session;
    struct buf key;
    bool found;
};

static void print_json(const struct get *get, const struct router_reply *reply) {
    bool hex = kv_session_options(get->session)->hex;
    cJSON *object = json_object();
    json_add_bytes(object, "key", slice_from_buf(&get->key), hex);
    json_add_bool(object, "found", get->found);
    if (get->found) {
        json_add_bytes(object, "value", reply->rows[0].value, hex);
        json_add_u64(object, "version", reply->rows[0].version);
    }
    if (reply->as_of) json_add_u64(object, "as_of", reply->as_of);
    kv_print_json_take(get->session, object);
}

static void get_done(void *ctx, const struct router_reply *reply) {
    struct get *get = ctx;
    const struct kv_options *options = kv_session_options(get->session);
    get->found = reply->row_count > 0 && reply->rows[0].version > 0;
    if (options->json) {
        print_json(get, reply);
    } else if (get->found) {
        struct buf out = {0};
        if (options->hex)
            kv_append_word(&out, reply->rows[0].value, true);
        else
            buf_append(&out, reply->rows[0].value);
        buf_append_byte(&out, '\n');
        (void)kv_print_take(get->session, &out); /* kv_main tells */
    }
}

static int run(struct kv_session *session, void *target) {
    struct get_options *options = target;
    struct get get = {.session = session};
    const char *text = options->kv.operands.items[0].text;
    int exit_code = CMD_USAGE;
    if (kv_bytes(session, "the key", text, &get.key)) {
        struct slice key = slice_from_buf(&get.key);
        struct router_request request = {.op = ROUTER_GET, .key_count = 1, .keys = &key};
        exit_code = kv_read(session, &request, get_done, &get);
    }
    if (exit_code == CMD_OK && !get.found) {
        exit_code = CMD_FAILED;
        if (!options->kv.json) common_complain_text("get", "there is no key '%s'", text);
    }
    buf_done(&get.key);
    return exit_code;
}

static int cmd_get(int argument_count, char **arguments) {
    struct get_options options = {0};
    return kv_main(&get_table, argument_count, arguments, &options, &options.kv, run);
}

const struct command command_get = {
    .name = "get",
    .help = "the value of a key",
    .run = cmd_get,
    .table = &get_table,
};
