/* `flotilla write`: guards and operations on keys of one range, all or nothing. */
#include "cmd/commands.h"
#include "cmd/kv.h"
#include "cmd/write_parts.h"

struct write_options {
    struct kv_options kv;
    struct config_list parts;
};

#define WRITE_PART(name, help) \
    { name, CONFIG_LIST, offsetof(struct write_options, parts), "", "", 0, 0, help }

static const struct config_option write_option_table[] = {
    WRITE_PART("guard", "'exists KEY', 'absent KEY', 'equals KEY VALUE', 'version KEY N', "
                        "'unchanged KEY N' or 'unchanged START END N' (no write since version N)"),
    WRITE_PART("put", "'KEY VALUE': sets the value"),
    WRITE_PART("insert", "'KEY VALUE': sets it, refused when the key has one"),
    WRITE_PART("delete", "'KEY': removes it"),
    WRITE_PART("add", "'KEY DELTA [min N] [max N]': adds to a number, within bounds"),
    KV_REQUEST_ID(struct write_options),
    KV_OPTIONS(struct write_options),
};

static const struct config_table write_table = {
    .command = "write",
    .synopsis =
        "Checks all guards, then does all operations in their order, at one instant, or nothing. "
        "The keys must lie in one range. A VALUE is all that follows the blank behind the key; - "
        "is standard input (once). A KEY with blanks stands in double quotes, where \\\", \\\\ and "
        "\\xHH mean a quote, a backslash and a byte. Prints the sums of the adds, then the "
        "version. "
        "Sent again with the same request id until it is decided. Exit code 0: done, 1: refused "
        "(the text says by what; nothing was changed), 2: called wrongly, 3: not done in time, "
        "nothing was changed, 4: unknown; the text says how to go on.",
    .examples =
        "  flotilla write --add 'issuer/MUNI-77/exposure +250000 min 0 max 5000000' \\\n"
        "      --insert 'issuer/MUNI-77/reservation/R-88421 250000'\n"
        "  flotilla write --guard 'absent lock' --put 'lock me' --put 'since now'\n"
        "  flotilla write --guard 'version page 461168601842738790' --put 'page -' <page.html\n"
        "  flotilla write --guard 'equals state open' --put 'state closed' --delete opened\n"
        "  flotilla write --add 'count -1 min 0' --request-id order-4711\n",
    .options = write_option_table,
    .option_count = OPTION_COUNT(write_option_table),
};

static int run(struct kv_session *session, void *target) {
    struct write_options *options = target;
    struct write_parts parts;
    struct buf error = {0}, input = {0};
    int exit_code = CMD_USAGE;
    if (write_parts_parse(&options->parts, options->kv.hex, &parts, &error) != STATUS_OK) {
        common_complain("write", &error);
    } else if (!parts.input || kv_read_input(session, &input)) {
        if (parts.input) *parts.input = slice_from_buf(&input);
        exit_code = kv_write(session, &parts.command);
    }
    write_parts_done(&parts);
    buf_done(&input);
    buf_done(&error);
    return exit_code;
}

static int cmd_write(int argument_count, char **arguments) {
    struct write_options options = {0};
    return kv_main(&write_table, argument_count, arguments, &options, &options.kv, run);
}

const struct command command_write = {
    .name = "write",
    .help = "guards and operations, all or nothing",
    .run = cmd_write,
    .table = &write_table,
};
