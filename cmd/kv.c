#include "cmd/kv.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/prng.h"
#include "cmd/commands.h"
#include "cmd/signals.h"
#include "rpc/kv_client.h"

/* An attempt takes a part of the time, so that an unknown outcome can still be settled. */
#define ATTEMPTS_PLANNED 4u
#define ATTEMPT_US_MIN 100000u
#define PAUSE_US_MIN 20000u
#define PAUSE_US_MAX 500000u

struct kv_session {
    const struct config_table *table;
    const struct kv_options *options;
    struct rpc_loop *loop;
    struct kv_client *client;
    struct signals *signals;
    struct rpc_timer turn_timer;
    uint64_t deadline_us;
    int output_errno;           /* of the first write to standard output that failed; 0: none */
    bool answered, interrupted; /* interrupted: answered as well, so that the wait ends */
};

/* ---- the life of a command ---- */

static void signal_caught(void *ctx, uint32_t number) {
    struct kv_session *session = ctx;
    session->interrupted = session->answered = true;
}

static void turn_timer_fired(struct rpc_timer *timer) {
    /* The client sends at the end of this turn. */
}

/* Submits one request and waits; its deadline ends the wait. The client sends at the end of a turn:
 * the timer sees to it that there is one. */
static void submit_and_wait(struct kv_session *session, const struct router_request *request,
                            router_done_fn *done, void *ctx) {
    session->answered = session->interrupted;
    kv_client_submit(session->client, request, done, ctx);
    rpc_timer_start(session->loop, &session->turn_timer, rpc_loop_now_us(session->loop));
    (void)rpc_loop_run_until(session->loop, &session->answered, UINT64_MAX / 2);
}

/* An answer that could not be written was not given: a full disk, or a reader that has left
 * (`| head`), who knows it himself. */
static int check_output(const struct kv_session *session, int exit_code) {
    if (session->output_errno == 0) return exit_code;
    if (session->output_errno != EPIPE)
        common_complain_text(session->table->command, "cannot write to standard output: %s",
                             strerror(session->output_errno));
    return exit_code == CMD_OK ? CMD_FAILED : exit_code;
}

int kv_main(const struct config_table *table, int argument_count, char **arguments, void *target,
            struct kv_options *options, int (*run)(struct kv_session *session, void *target)) {
    switch (common_load(table, argument_count, arguments, target, &options->common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    struct kv_session session = {.table = table, .options = options};
    const struct kv_client_config config = {.address = options->router, .fail_fast = true};
    session.turn_timer.fire = turn_timer_fired;
    session.loop = rpc_loop_new();
    session.client = kv_client_new(session.loop, &config);
    session.signals = signals_watch(session.loop, signal_caught, &session);
    session.deadline_us = rpc_loop_now_us(session.loop) + options->timeout_ms * 1000;
    int exit_code = check_output(&session, run(&session, target));
    rpc_timer_stop(session.loop, &session.turn_timer);
    signals_free(session.signals);
    kv_client_free(session.client);
    rpc_loop_free(session.loop);
    config_free_values(table, target);
    return exit_code;
}

const struct kv_options *kv_session_options(const struct kv_session *session) {
    return session->options;
}

/* ---- bytes ---- */

bool kv_parse_hex(struct slice text, struct buf *ret_bytes) {
    struct buf bytes = {0};
    bool right = text.len % 2 == 0;
    for (size_t i = 0; i < text.len && right; i += 2) {
        unsigned byte;
        char pair[3] = {(char)text.data[i], (char)text.data[i + 1], 0};
        right = isxdigit((unsigned char)pair[0]) && isxdigit((unsigned char)pair[1]) &&
                sscanf(pair, "%2x", &byte) == 1;
        if (right) buf_append_byte(&bytes, (uint8_t)byte);
    }
    if (right) buf_append(ret_bytes, slice_from_buf(&bytes));
    buf_done(&bytes);
    return right;
}

bool kv_bytes(const struct kv_session *session, const char *what, const char *text,
              struct buf *ret_bytes) {
    if (!session->options->hex) {
        buf_append(ret_bytes, slice_from_text(text));
        return true;
    }
    if (kv_parse_hex(slice_from_text(text), ret_bytes)) return true;
    common_complain_text(session->table->command,
                         "%s '%s' is not hexadecimal (pairs of 0-9 and a-f), as --hex says", what,
                         text);
    return false;
}

bool kv_read_input(const struct kv_session *session, struct buf *ret_bytes) {
    const size_t max = TXN_VALUE_BYTES_MAX;
    struct buf bytes = {0};
    ssize_t got;
    buf_reserve(&bytes, max + 1);
    do {
        got = read(STDIN_FILENO, bytes.data + bytes.len, max + 1 - bytes.len);
        if (got > 0) bytes.len += (size_t)got;
    } while ((got > 0 && bytes.len <= max) || (got < 0 && errno == EINTR));
    bool right = got == 0 && bytes.len <= max;
    if (got < 0)
        common_complain_text(session->table->command, "cannot read standard input: %m");
    else if (bytes.len > max)
        common_complain_text(session->table->command,
                             "standard input has more than %zu bytes, the most a value may have",
                             max);
    if (right && session->options->hex) {
        while (bytes.len > 0 && isspace(bytes.data[bytes.len - 1]))
            bytes.len--;
        right = kv_parse_hex(slice_from_buf(&bytes), ret_bytes);
        if (!right)
            common_complain_text(session->table->command,
                                 "standard input is not hexadecimal, as --hex says");
    } else if (right) {
        buf_append(ret_bytes, slice_from_buf(&bytes));
    }
    buf_done(&bytes);
    return right;
}

void kv_append_word(struct buf *out, struct slice bytes, bool hex) {
    for (size_t at = 0; at < bytes.len;) {
        uint32_t code_point = 0;
        struct slice rest = slice_make(bytes.data + at, bytes.len - at);
        size_t len = hex ? 0 : slice_decode_utf8(rest, &code_point);
        bool plain = len > 0 && code_point >= 0x20 && code_point != '\\' &&
                     !(code_point >= 0x7f && code_point < 0xa0);
        if (plain)
            buf_append(out, slice_make(rest.data, len));
        else
            buf_printf(out, hex ? "%02x" : "\\x%02x", rest.data[0]);
        at += plain ? len : 1;
    }
}

bool kv_print_take(struct kv_session *session, struct buf *text) {
    bool written = fwrite(text->data, 1, text->len, stdout) == text->len && fflush(stdout) == 0;
    if (!written && session->output_errno == 0) session->output_errno = errno;
    buf_done(text);
    return written;
}

void kv_print_json_take(struct kv_session *session, cJSON *object) {
    struct buf line = {0};
    json_print_take(&line, object);
    buf_append_byte(&line, '\n');
    (void)kv_print_take(session, &line); /* kv_main tells */
}

/* ---- reads ---- */

struct read_ctx {
    struct kv_session *session;
    router_done_fn *done;
    void *ctx;
    int exit_code;
};

static void complain(const struct kv_session *session, struct slice text) {
    common_complain_text(session->table->command, "%.*s", (int)text.len, (const char *)text.data);
}

static void read_done(void *ctx, const struct router_reply *reply) {
    struct read_ctx *read = ctx;
    read->session->answered = true;
    if (reply->code == ROUTER_OK) {
        read->done(read->ctx, reply);
        return;
    }
    if (read->session->interrupted) return; /* the client's end; it is said below */
    read->exit_code = reply->code == ROUTER_INVALID ? CMD_USAGE : CMD_UNAVAILABLE;
    complain(read->session, reply->text);
}

int kv_read(struct kv_session *session, struct router_request *request, router_done_fn *done,
            void *ctx) {
    struct read_ctx read = {.session = session, .done = done, .ctx = ctx, .exit_code = CMD_OK};
    request->deadline_us = rpc_loop_now_us(session->loop) + session->options->timeout_ms * 1000;
    request->read_mode = session->options->stale ? RANGE_READ_STALE : RANGE_READ_LINEARIZABLE;
    submit_and_wait(session, request, read_done, &read);
    if (!session->interrupted) return read.exit_code;
    kv_client_free(session->client); /* `read` is on this stack: no answer after this */
    session->client = NULL;
    common_complain_text(session->table->command, "interrupted");
    return CMD_UNAVAILABLE;
}

/* ---- writes ---- */

struct write_ctx {
    struct kv_session *session;
    struct txn_command *command;
    const char *request_id;
    enum router_code code; /* of the last attempt */
    struct buf text;       /* of the last attempt */
    uint32_t retry_after_us;
    bool unknown; /* an attempt may have been done */
    int exit_code;
};

static const char *const refusal_names[] = {
    [TXN_REFUSED_GUARD] = "guard",
    [TXN_REFUSED_EXISTS] = "exists",
    [TXN_REFUSED_NOT_A_NUMBER] = "not-a-number",
    [TXN_REFUSED_OVERFLOW] = "overflow",
    [TXN_REFUSED_BOUND] = "bound",
    [TXN_REFUSED_REQUEST_ID_REUSED] = "request-id-reused",
    [TXN_REFUSED_WRONG_RANGE] = "wrong-range",
};

static struct slice part_key(const struct write_ctx *write, const struct txn_outcome *outcome) {
    const struct txn_command *command = write->command;
    if (outcome->result == TXN_REFUSED_REQUEST_ID_REUSED) return SLICE_EMPTY;
    if (outcome->result == TXN_REFUSED_GUARD)
        return outcome->index < command->guard_count ? command->guards[outcome->index].key
                                                     : SLICE_EMPTY;
    return outcome->index < command->op_count ? command->ops[outcome->index].key : SLICE_EMPTY;
}

static void print_outcome_json(const struct write_ctx *write, const struct txn_outcome *outcome) {
    cJSON *object = json_object();
    bool done = outcome->result == TXN_DONE;
    json_add_text(object, "outcome", done ? "done" : "refused");
    if (done) {
        json_add_u64(object, "version", outcome->commit_ts);
        cJSON *numbers = json_add_array(object, "numbers");
        for (uint32_t i = 0; i < outcome->number_count; i++)
            json_add_i64(numbers, NULL, outcome->numbers[i]);
    } else {
        json_add_text(object, "refusal", refusal_names[outcome->result]);
        json_add_text(object, "text", txn_result_text(outcome->result));
        json_add_u64(object, "index", outcome->index);
        json_add_bytes(object, "key", part_key(write, outcome), write->session->options->hex);
        if (outcome->result == TXN_REFUSED_BOUND) json_add_i64(object, "number", outcome->number);
    }
    json_add_bool(object, "replayed", outcome->replayed);
    json_add_text(object, "request_id", write->request_id);
    kv_print_json_take(write->session, object);
}

/* The results of the adds, a line each: they are in the order of the operations. */
static void append_numbers(struct buf *out, const struct write_ctx *write,
                           const struct txn_outcome *outcome) {
    const struct txn_command *command = write->command;
    uint32_t at = 0;
    for (uint32_t i = 0; i < command->op_count && at < outcome->number_count; i++) {
        if (command->ops[i].kind != TXN_OP_ADD) continue;
        kv_append_word(out, command->ops[i].key, write->session->options->hex);
        buf_printf(out, "\t%" PRId64 "\n", outcome->numbers[at++]);
    }
}

static void print_outcome(const struct write_ctx *write, const struct txn_outcome *outcome) {
    struct buf out = {0};
    const char *before = outcome->replayed ? " by an earlier attempt" : "";
    if (outcome->result == TXN_DONE) {
        append_numbers(&out, write, outcome);
        buf_printf(&out, "done%s: version %" PRIu64 ", request id %s\n", before, outcome->commit_ts,
                   write->request_id);
        (void)kv_print_take(write->session, &out); /* kv_main tells */
        return;
    }
    struct slice key = part_key(write, outcome);
    buf_printf(&out, "refused%s, nothing was changed: ", before);
    if (key.len > 0) {
        kv_append_word(&out, key, write->session->options->hex);
        buf_printf(&out, ": ");
    }
    buf_printf(&out, "%s", txn_result_text(outcome->result));
    if (outcome->result == TXN_REFUSED_BOUND)
        buf_printf(&out, " (it holds %" PRId64 ")", outcome->number);
    buf_printf(&out, "; request id %s", write->request_id);
    complain(write->session, slice_from_buf(&out));
    buf_done(&out);
}

static void write_done(void *ctx, const struct router_reply *reply) {
    struct write_ctx *write = ctx;
    if (write->session->interrupted) return; /* the client's end */
    write->session->answered = true;
    write->code = reply->code;
    write->retry_after_us = reply->retry_after_us;
    buf_assign(&write->text, reply->text);
    if (reply->code == ROUTER_UNKNOWN) write->unknown = true;
    if (reply->code != ROUTER_OK || !reply->outcome) return;
    write->exit_code = reply->outcome->result == TXN_DONE ? CMD_OK : CMD_FAILED;
    if (write->session->options->json)
        print_outcome_json(write, reply->outcome);
    else
        print_outcome(write, reply->outcome);
}

static void attempt(struct write_ctx *write) {
    struct kv_session *session = write->session;
    uint64_t now_us = rpc_loop_now_us(session->loop);
    uint64_t part_us = session->options->timeout_ms * 1000 / ATTEMPTS_PLANNED;
    if (part_us < ATTEMPT_US_MIN) part_us = ATTEMPT_US_MIN;
    struct router_request request = {.op = ROUTER_WRITE, .command = write->command};
    request.deadline_us =
        now_us + part_us < session->deadline_us ? now_us + part_us : session->deadline_us;
    submit_and_wait(session, &request, write_done, write);
}

/* May another attempt bring a decision? A router that nobody answers at is a wrong address, unless
 * one was there before. */
static bool goes_on(const struct write_ctx *write) {
    const struct kv_session *session = write->session;
    if (session->interrupted || rpc_loop_now_us(session->loop) >= session->deadline_us)
        return false;
    switch (write->code) {
    case ROUTER_OK:
    case ROUTER_INVALID:
    case ROUTER_CROSS_RANGE:
        return false;
    case ROUTER_UNAVAILABLE:
        return write->unknown || kv_client_failure(session->client).len == 0;
    case ROUTER_BUSY:
    case ROUTER_TIMEOUT:
    case ROUTER_UNKNOWN:
        return true;
    }
    return false;
}

static void pause_before_next(struct write_ctx *write, uint64_t *pause_us) {
    struct kv_session *session = write->session;
    uint64_t wait_us = write->retry_after_us > *pause_us ? write->retry_after_us : *pause_us;
    session->answered = session->interrupted; /* a signal ends the pause */
    (void)rpc_loop_run_until(session->loop, &session->answered, wait_us);
    *pause_us = *pause_us * 2 < PAUSE_US_MAX ? *pause_us * 2 : PAUSE_US_MAX;
}

static int say_undecided(const struct write_ctx *write) {
    struct kv_session *session = write->session;
    const char *why = session->interrupted ? "interrupted" : (const char *)write->text.data;
    /* An id that was given is that of an earlier attempt, as far as anybody here knows. */
    bool unknown = write->unknown || session->options->request_id[0];
    if (session->options->json) {
        cJSON *object = json_object();
        json_add_text(object, "outcome", unknown ? "unknown" : "not-done");
        json_add_text(object, "text", why ? why : "");
        json_add_text(object, "request_id", write->request_id);
        kv_print_json_take(write->session, object);
    }
    if (unknown) {
        common_complain_text(session->table->command,
                             "unknown whether it was done: %s. Run the same command again with "
                             "--request-id %s to learn it; it is never done twice",
                             why, write->request_id);
        return CMD_UNKNOWN;
    }
    common_complain_text(session->table->command, "not done: %s", why);
    bool wrong = write->code == ROUTER_INVALID || write->code == ROUTER_CROSS_RANGE;
    return wrong ? CMD_USAGE : CMD_UNAVAILABLE;
}

int kv_write(struct kv_session *session, struct txn_command *command) {
    char fresh[40];
    const char *given = session->options->request_id;
    snprintf(fresh, sizeof(fresh), "%016" PRIx64 "%016" PRIx64, prng_seed_from_system(),
             prng_seed_from_system());
    struct write_ctx write = {.session = session,
                              .command = command,
                              .request_id = given[0] ? given : fresh,
                              .exit_code = CMD_UNKNOWN};
    command->request_id = slice_from_text(write.request_id);
    struct buf problem = {0};
    if (txn_command_check(command, &problem) != STATUS_OK) {
        complain(session, slice_from_buf(&problem));
        buf_done(&problem);
        return CMD_USAGE;
    }
    uint64_t pause_us = PAUSE_US_MIN;
    attempt(&write);
    while (goes_on(&write)) {
        if (write.code == ROUTER_UNKNOWN)
            fprintf(stderr, "no answer yet; asking again with request id %s\n", write.request_id);
        pause_before_next(&write, &pause_us);
        if (!session->interrupted) attempt(&write);
    }
    if (session->interrupted) { /* what is under way may be done; `write` is on this stack */
        write.unknown = write.unknown || kv_client_outstanding(session->client) > 0;
        kv_client_free(session->client);
        session->client = NULL;
    }
    buf_append_byte(&write.text, 0);
    if (session->interrupted || write.code != ROUTER_OK) write.exit_code = say_undecided(&write);
    buf_done(&write.text);
    return write.exit_code;
}
