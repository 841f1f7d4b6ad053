/* What `flotilla get`, `put`, `delete`, `scan` and `write` share: a client on a loop, one request
 * at a time, bytes from the command line and to the terminal, and what the exit code says.
 *
 * A write is sent with a request id, and sent again with the same one until it is decided:
 *
 *   sent ──▶ done, refused                    decided
 *     │ ▲
 *     ▼ │ unknown; busy; not in time           again, after a pause, until --timeout-ms
 *
 * When the time is over: "nothing was changed" if every attempt was answered so, else unknown, with
 * the id and how to go on. */
#ifndef FLOTILLA_CMD_KV_H
#define FLOTILLA_CMD_KV_H

#include "cmd/common.h"
#include "range/router/router.h"

struct kv_options {
    struct common_options common;
    char *router, *request_id;
    uint64_t timeout_ms;
    bool hex, json, stale;
    struct config_list operands;
};

/* Entries for the option table of a struct with a member `kv`. */
#define KV_ENTRY(type, name, kind, field, fallback, unit, minimum, maximum, help) \
    { name, kind, offsetof(type, kv.field), fallback, unit, minimum, maximum, help }
#define KV_OPTIONS(type)                                                                        \
    KV_ENTRY(type, "hex", CONFIG_BOOL, hex, "false", "", 0, 0,                                  \
             "keys and values are hexadecimal, given and printed"),                             \
        KV_ENTRY(type, "json", CONFIG_BOOL, json, "false", "", 0, 0,                            \
                 "print JSON, a line each; bytes that are no text are <name>_hex"),             \
        KV_ENTRY(type, "router", CONFIG_ADDRESSES, router, "127.0.0.1:7000", "", 0, 0,          \
                 "addresses of routers, or of nodes, comma-separated; the first that answers"), \
        KV_ENTRY(type, "timeout-ms", CONFIG_U64, timeout_ms, "10000", "ms", 1, 3600000,         \
                 "give up after so long"),                                                      \
    {                                                                                           \
        "log-level", CONFIG_TEXT, offsetof(type, kv.common.log_level), "error", "", 0, 0,       \
            "what to log: debug, info, warn, error or none"                                     \
    }
#define KV_STALE(type)                                             \
    KV_ENTRY(type, "stale", CONFIG_BOOL, stale, "false", "", 0, 0, \
             "what any replica has, however old; answered without a quorum, too")
#define KV_REQUEST_ID(type)                                             \
    KV_ENTRY(type, "request-id", CONFIG_TEXT, request_id, "", "", 0, 0, \
             "to settle an earlier attempt, or an id of your own; default: a fresh one")

struct kv_session;

/* Loads the options into `target`, whose member is `options`, and runs the command. */
int kv_main(const struct config_table *table, int argument_count, char **arguments, void *target,
            struct kv_options *options, int (*run)(struct kv_session *session, void *target));

const struct kv_options *kv_session_options(const struct kv_session *session);

/* ---- bytes ---- */
/* A text of the command line as bytes, in hexadecimal when --hex. False: said what is wrong. */
bool kv_bytes(const struct kv_session *session, const char *what, const char *text,
              struct buf *ret_bytes);
bool kv_parse_hex(struct slice text, struct buf *ret_bytes); /* false: it is none */
/* Standard input to its end, as a value: at most TXN_VALUE_BYTES_MAX. False: said what is wrong. */
bool kv_read_input(const struct kv_session *session, struct buf *ret_bytes);
/* As one word of a line: control characters, the backslash and what is no UTF-8 become \xHH. */
void kv_append_word(struct buf *out, struct slice bytes, bool hex);
/* To standard output; frees it. False: nobody takes it; the exit code will say so. */
bool kv_print_take(struct kv_session *session, struct buf *text);
void kv_print_json_take(struct kv_session *session, cJSON *object); /* on a line */

/* ---- requests ---- */
/* Sends a read and waits, up to --timeout-ms; `done` gets the answer if it is one. The exit code:
 * OK, or said why. */
int kv_read(struct kv_session *session, struct router_request *request, router_done_fn *done,
            void *ctx);
/* Sends a command until it is decided and prints the outcome. Sets the command's request id. */
int kv_write(struct kv_session *session, struct txn_command *command);

#endif
