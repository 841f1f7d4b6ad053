/* `flotilla scan`: keys and values of an interval, a page at a time. */
#include <inttypes.h>
#include <stdio.h>

#include "cmd/commands.h"
#include "cmd/kv.h"

#define PAGE_ROWS 1000u

struct scan_options {
    struct kv_options kv;
    char *prefix;
    uint64_t limit;
    bool reverse, keys_only;
};

#define SCAN_OPTION(name, kind, field, fallback, unit, minimum, maximum, help) \
    { name, kind, offsetof(struct scan_options, field), fallback, unit, minimum, maximum, help }

static const struct config_option scan_option_table[] = {
    SCAN_OPTION("prefix", CONFIG_TEXT, prefix, "", "", 0, 0,
                "the keys that begin with this, instead of START and END"),
    SCAN_OPTION("limit", CONFIG_U64, limit, "0", "rows", 0, UINT64_MAX, "at most so many; 0: all"),
    SCAN_OPTION("reverse", CONFIG_BOOL, reverse, "false", "", 0, 0, "the last key first"),
    SCAN_OPTION("keys-only", CONFIG_BOOL, keys_only, "false", "", 0, 0, "leave out the values"),
    KV_STALE(struct scan_options),
    KV_OPTIONS(struct scan_options),
};

static const struct config_table scan_table = {
    .command = "scan",
    .synopsis = "Prints keys and values in the order of the keys, from START on and before END; "
                "without them all. A line each: key, tab, value; control characters, the backslash "
                "and bytes that are no text as \\xHH. Not one consistent cut: it is read in pages. "
                "Exit code 0: all was read, 2: called wrongly, 3: nobody could tell in time.",
    .examples = "  flotilla scan --prefix issuer/MUNI-77/\n"
                "  flotilla scan a b --limit 10 --reverse\n"
                "  flotilla scan --keys-only --json\n",
    .options = scan_option_table,
    .option_count = OPTION_COUNT(scan_option_table),
    .operands = "[START [END]]",
    .operands_offset = offsetof(struct scan_options, kv.operands),
    .operands_max = 2,
};

struct scan {
    struct kv_session *session;
    const struct scan_options *options;
    struct buf start, end; /* of what is still to be read */
    uint64_t rows;
    bool more;
    bool cut_off; /* nobody takes the rows */
};

static void append_row(const struct scan *scan, const struct range_row *row, struct buf *out) {
    bool hex = scan->options->kv.hex;
    if (scan->options->kv.json) {
        cJSON *object = json_object();
        json_add_bytes(object, "key", row->key, hex);
        if (!scan->options->keys_only) json_add_bytes(object, "value", row->value, hex);
        json_add_u64(object, "version", row->version);
        json_print_take(out, object);
    } else {
        kv_append_word(out, row->key, hex);
        if (!scan->options->keys_only) {
            buf_append_byte(out, '\t');
            kv_append_word(out, row->value, hex);
        }
    }
    buf_append_byte(out, '\n');
}

static void page_done(void *ctx, const struct router_reply *reply) {
    struct scan *scan = ctx;
    struct buf out = {0};
    for (uint32_t i = 0; i < reply->row_count; i++)
        append_row(scan, &reply->rows[i], &out);
    scan->cut_off = !kv_print_take(scan->session, &out);
    scan->rows += reply->row_count;
    scan->more = reply->more;
    if (reply->more) buf_assign(scan->options->reverse ? &scan->end : &scan->start, reply->resume);
}

static int read_pages(struct scan *scan) {
    int exit_code = CMD_OK;
    uint64_t limit = scan->options->limit ? scan->options->limit : UINT64_MAX;
    scan->more = true;
    while (exit_code == CMD_OK && scan->more && scan->rows < limit && !scan->cut_off) {
        uint64_t left = limit - scan->rows;
        struct router_request request = {
            .op = ROUTER_SCAN,
            .start = slice_from_buf(&scan->start),
            .end = slice_from_buf(&scan->end),
            .reverse = scan->options->reverse,
            .keys_only = scan->options->keys_only,
            .row_limit = left < PAGE_ROWS ? (uint32_t)left : PAGE_ROWS,
        };
        exit_code = kv_read(scan->session, &request, page_done, scan);
    }
    if (exit_code == CMD_OK && scan->more && !scan->cut_off)
        fprintf(stderr, "%" PRIu64 " rows; there are more\n", scan->rows);
    return exit_code;
}

static bool choose_interval(struct scan *scan) {
    const struct scan_options *options = scan->options;
    const struct config_list *operands = &options->kv.operands;
    if (options->prefix[0] && operands->count > 0) {
        common_complain_text("scan", "--prefix takes the place of START and END; give either");
        return false;
    }
    if (options->prefix[0]) {
        if (!kv_bytes(scan->session, "--prefix", options->prefix, &scan->start)) return false;
        /* Without a key behind all of them the interval has no end. */
        if (!buf_assign_prefix_end(&scan->end, slice_from_buf(&scan->start))) buf_clear(&scan->end);
        return true;
    }
    return (operands->count < 1 ||
            kv_bytes(scan->session, "START", operands->items[0].text, &scan->start)) &&
           (operands->count < 2 ||
            kv_bytes(scan->session, "END", operands->items[1].text, &scan->end));
}

static int run(struct kv_session *session, void *target) {
    struct scan scan = {.session = session, .options = target};
    int exit_code = choose_interval(&scan) ? read_pages(&scan) : CMD_USAGE;
    buf_done(&scan.start);
    buf_done(&scan.end);
    return exit_code;
}

static int cmd_scan(int argument_count, char **arguments) {
    struct scan_options options = {0};
    return kv_main(&scan_table, argument_count, arguments, &options, &options.kv, run);
}

const struct command command_scan = {
    .name = "scan",
    .help = "keys and values in order",
    .run = cmd_scan,
    .table = &scan_table,
};
