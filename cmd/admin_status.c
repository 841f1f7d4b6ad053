/* `flotilla admin status`: the cluster as placement sees it, and whether its nodes answer.
 *
 * Placement hears heartbeats, which a node sends even when nobody can reach it. So every node is
 * asked at its clients' port as well, all at once and for a second at most; one that does not
 * answer there is not healthy, whatever its heartbeats say. In JSON each of `nodes` has, beside
 * what placement says: answers (at its port), state (null: no answer), healthy, problem (null:
 * none)
 *
 * With --node placement is not asked: each node says what it knows (admin_status_node.c). */
#include <inttypes.h>
#include <stdio.h>

#include "base/address.h"
#include "base/memory.h"
#include "cmd/admin.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "rpc/placement_client.h"

/* A node on the loop thread's way answers in milliseconds; a frozen one would take for ever. */
#define ASK_TIMEOUT_US_MAX 1000000u

struct status_options {
    struct common_options common;
    char *placement, *node;
    uint64_t timeout_ms;
    bool json;
};

#define OPTION(name, kind, field, fallback, unit, minimum, maximum, help) \
    ADMIN_OPTION(struct status_options, name, kind, field, fallback, unit, minimum, maximum, help)

static const struct config_option option_list[] = {
    OPTION("json", CONFIG_BOOL, json, "false", "", 0, 0, "one line of JSON instead of text"),
    OPTION("node", CONFIG_ADDRESSES, node, "", "", 0, 0,
           "ask these nodes what they know, and not placement: also while it is away"),
    OPTION("timeout-ms", CONFIG_U64, timeout_ms, "5000", "ms", 1, 600000, "give up after so long"),
    ADMIN_PLACEMENT(struct status_options),
    COMMON_OPTIONS(struct status_options),
};

static const struct config_table status_table = {
    .command = "admin status",
    .synopsis =
        "Prints the cluster as placement sees it (members, nodes, ranges, leaders, clock), and "
        "whether each node answers; or what single nodes know.",
    .examples = "  flotilla admin status\n"
                "  flotilla admin status --placement 127.0.0.1:7001 --json\n"
                "  flotilla admin status --node 127.0.0.1:7101,127.0.0.1:7102\n",
    .options = option_list,
    .option_count = OPTION_COUNT(option_list),
};

struct status_command;

/* A node that is asked. */
struct asked {
    struct status_command *command;
    char *address; /* owned */
    struct rpc_client *client;
    bool answered, ok;
    struct buf text, problem;
    const char *state; /* static; NULL: none */
    cJSON *json;       /* what is known of it goes here */
};

struct status_command {
    struct status_options options;
    struct rpc_loop *loop;
    int exit_code;
    bool answered; /* placement has */
    struct buf text;
    cJSON *json;
    struct asked *nodes;
    uint32_t count, waiting;
    bool all_answered;
};

/* ---- asking nodes ---- */

static void node_answered(void *ctx, const struct rpc_status *status,
                          const struct rpc_node_status *node) {
    struct asked *asked = ctx;
    asked->answered = true;
    if (--asked->command->waiting == 0) asked->command->all_answered = true;
    if (!node) {
        buf_printf(&asked->problem, "%.*s", (int)status->text.len, (const char *)status->text.data);
        return;
    }
    asked->ok = true;
    asked->state = admin_node_state(node);
    if (node->state != RPC_NODE_SERVING) buf_printf(&asked->problem, "it is %s", asked->state);
    if (!asked->command->options.node[0]) return;
    admin_print_node(node, asked->address, &asked->text);
    admin_add_node(asked->json, node);
}

static void add_asked(struct status_command *command, struct slice address, cJSON *json) {
    command->nodes = memory_realloc(command->nodes, (command->count + 1) * sizeof(*command->nodes));
    struct asked *asked = &command->nodes[command->count++];
    *asked = (struct asked){.command = command, .json = json};
    asked->address = memory_zalloc(address.len + 1);
    memcpy(asked->address, address.data, address.len);
}

/* All at once; `command->nodes` does not move any more. */
static void ask_nodes(struct status_command *command) {
    uint64_t timeout_us = command->options.timeout_ms * 1000;
    bool brief = !command->options.node[0];
    if (brief && timeout_us > ASK_TIMEOUT_US_MAX) timeout_us = ASK_TIMEOUT_US_MAX;
    command->waiting = command->count;
    command->all_answered = command->count == 0;
    for (uint32_t i = 0; i < command->count; i++) {
        struct asked *asked = &command->nodes[i];
        asked->client = rpc_client_new(command->loop, asked->address);
        rpc_node_status_ask(asked->client, brief, timeout_us, node_answered, asked);
    }
    /* The calls' deadlines end the wait. */
    (void)rpc_loop_run_until(command->loop, &command->all_answered, 2 * timeout_us + 1000000);
}

static void add_answer(const struct asked *asked) {
    json_add_bool(asked->json, "answers", asked->ok);
    if (asked->problem.len > 0)
        json_add_escaped(asked->json, "problem", slice_from_buf(&asked->problem));
    else
        json_add_null(asked->json, "problem");
}

/* ---- with placement ---- */

static void status_came(void *ctx, enum status status, struct slice text, struct slice json) {
    struct status_command *command = ctx;
    command->answered = true;
    if (status == STATUS_OK) {
        buf_append(&command->text, text);
        command->json = cJSON_ParseWithLength((const char *)json.data, json.len);
        if (command->json) return;
        text = SLICE_LITERAL("its JSON cannot be read; is it of another version?");
    }
    common_complain_text(status_table.command,
                         "placement at %s did not answer: %.*s; what single nodes know: "
                         "--node HOST:PORT",
                         command->options.placement, (int)text.len, (const char *)text.data);
    command->exit_code = CMD_FAILED;
}

/* Placement's answer. False: there is none, and that was said. */
static bool ask_placement(struct status_command *command) {
    struct placement_client *placement;
    struct buf error = {0};
    struct placement_client_config config = {.loop = command->loop,
                                             .addresses = command->options.placement,
                                             .timeout_ms = (uint32_t)command->options.timeout_ms};
    if (placement_client_new(&config, &error, &placement) != STATUS_OK) {
        common_complain(status_table.command, &error);
        command->exit_code = CMD_USAGE;
    } else {
        placement_client_status(placement, status_came, command);
        /* The client's own attempts end within its time-out at each member. */
        (void)rpc_loop_run_until(command->loop, &command->answered, UINT64_C(600) * 1000000);
        placement_client_free(placement);
    }
    buf_done(&error);
    return command->json != NULL;
}

static bool is_true(const cJSON *object, const char *name) {
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static void print_with_answers(struct status_command *command) {
    struct buf out = {0};
    buf_append(&out, slice_from_buf(&command->text));
    if (out.len > 0 && out.data[out.len - 1] != '\n') buf_append_byte(&out, '\n');
    uint32_t answering = 0;
    for (uint32_t i = 0; i < command->count; i++) {
        const struct asked *asked = &command->nodes[i];
        const cJSON *id = cJSON_GetObjectItemCaseSensitive(asked->json, "id");
        if (asked->ok && asked->problem.len == 0)
            answering++;
        else
            buf_printf(&out, "node %.0f at %s DOES NOT SERVE: %.*s\n",
                       cJSON_IsNumber(id) ? id->valuedouble : 0, asked->address,
                       (int)asked->problem.len, (const char *)asked->problem.data);
    }
    buf_printf(&out, "answer at their address and serve: %u of %u nodes\n", answering,
               command->count);
    printf("%.*s", (int)out.len, (const char *)out.data);
    buf_done(&out);
}

static void print_json(struct status_command *command) {
    struct buf out = {0};
    json_print_take(&out, command->json);
    command->json = NULL;
    printf("%.*s\n", (int)out.len, (const char *)out.data);
    buf_done(&out);
}

static void run_cluster(struct status_command *command) {
    if (!ask_placement(command)) return;
    cJSON *node;
    cJSON_ArrayForEach(node, cJSON_GetObjectItemCaseSensitive(command->json, "nodes")) {
        const cJSON *address = cJSON_GetObjectItemCaseSensitive(node, "address");
        if (cJSON_IsString(address))
            add_asked(command, slice_from_text(address->valuestring), node);
    }
    ask_nodes(command);
    for (uint32_t i = 0; i < command->count; i++) {
        const struct asked *asked = &command->nodes[i];
        add_answer(asked);
        if (asked->state)
            json_add_text(asked->json, "state", asked->state);
        else
            json_add_null(asked->json, "state");
        json_add_bool(asked->json, "healthy",
                      is_true(asked->json, "alive") && !is_true(asked->json, "set_back") &&
                          asked->ok && asked->problem.len == 0);
    }
    if (command->options.json)
        print_json(command);
    else
        print_with_answers(command);
}

/* ---- without ---- */

static void run_nodes(struct status_command *command) {
    command->json = json_object();
    cJSON *list = json_add_array(command->json, "nodes");
    const char *at = command->options.node;
    while (*at) {
        size_t len = strcspn(at, ",");
        cJSON *object = json_add_object(list, NULL);
        json_add_escaped(object, "address", slice_make((const uint8_t *)at, len));
        add_asked(command, slice_make((const uint8_t *)at, len), object);
        at += len + (at[len] == ',');
    }
    ask_nodes(command);
    for (uint32_t i = 0; i < command->count; i++) {
        const struct asked *asked = &command->nodes[i];
        add_answer(asked);
        if (!asked->ok) command->exit_code = CMD_FAILED;
        if (command->options.json) continue;
        if (asked->ok)
            printf("%.*s", (int)asked->text.len, (const char *)asked->text.data);
        else
            printf("node at %s does NOT ANSWER: %.*s\n", asked->address, (int)asked->problem.len,
                   (const char *)asked->problem.data);
    }
    if (command->options.json) print_json(command);
}

/* ---- the command ---- */

static void command_done(struct status_command *command) {
    for (uint32_t i = 0; i < command->count; i++) {
        struct asked *asked = &command->nodes[i];
        rpc_client_free(asked->client);
        memory_free(asked->address);
        buf_done(&asked->text);
        buf_done(&asked->problem);
    }
    memory_free(command->nodes);
    cJSON_Delete(command->json);
    buf_done(&command->text);
    rpc_loop_free(command->loop);
    config_free_values(&status_table, &command->options);
}

static int run_status(int argument_count, char **arguments) {
    struct status_command command = {0};
    switch (common_load(&status_table, argument_count, arguments, &command.options,
                        &command.options.common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    /* The answer speaks for itself; connections coming and going do not matter here. */
    if (log_level_current == LOG_INFO) log_set_level(LOG_ERROR);
    command.loop = rpc_loop_new();
    if (command.options.node[0])
        run_nodes(&command);
    else
        run_cluster(&command);
    command_done(&command);
    return command.exit_code;
}

const struct command command_admin_status = {
    .name = "status",
    .help = "the cluster as placement sees it, and whether its nodes answer",
    .run = run_status,
    .table = &status_table,
};
