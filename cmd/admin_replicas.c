/* `flotilla admin replicas`, `add-replica`, `remove-replica`, `move-replica`.
 *
 *   look      the range's leader is asked for its replicas
 *   step      replica_goal_next says what is missing; it is asked of the leader
 *   pause     when the range was not ready for it, or the outcome is unknown; then look again
 *
 * until the goal is reached, refused, or the time is over. Nothing is remembered from one look to
 * the next, so the same command, run again after whatever happened, goes on where the range stands.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/prng.h"
#include "cmd/admin.h"
#include "cmd/commands.h"
#include "cmd/common.h"
#include "cmd/replica_goal.h"

/* One request to the range; then the range is looked at again. */
#define REQUEST_US 10000000u
/* A transfer is answered when the other node leads: soon, or it has failed. */
#define TRANSFER_US 2000000u
#define PAUSE_US_MIN 10000u
#define PAUSE_US_MAX 500000u
/* A step that others' absence makes unsafe is refused when they stay away for so long: a leader
 * that was just elected has heard from nobody yet. */
#define UNSAFE_US 3000000u

struct replicas_options {
    struct common_options common;
    char *placement;
    uint64_t range, node, from, to;
    uint64_t timeout_s, timeout_ms; /* the one that is not 0 counts */
    uint64_t to_node;               /* transfer */
    bool json, force;
};

#define REPLICAS_OPTION(name, kind, field, fallback, unit, minimum, maximum, help) \
    ADMIN_OPTION(struct replicas_options, name, kind, field, fallback, unit, minimum, maximum, help)
#define REPLICAS_RANGE \
    REPLICAS_OPTION("range", CONFIG_U64, range, NULL, "", 1, UINT64_MAX, "the range's id")
#define REPLICAS_SHARED(timeout_s_default)                                                      \
    REPLICAS_OPTION("timeout-s", CONFIG_U64, timeout_s, timeout_s_default, "s", 1, 86400,       \
                    "give up after so long; what was begun may be gone on with by running the " \
                    "command again"),                                                           \
        ADMIN_PLACEMENT(struct replicas_options), COMMON_OPTIONS(struct replicas_options)

static const struct config_option list_options[] = {
    REPLICAS_RANGE,
    REPLICAS_OPTION("json", CONFIG_BOOL, json, "false", "", 0, 0, "one line of JSON, no text"),
    REPLICAS_SHARED("5"),
};

static const struct config_option add_options[] = {
    REPLICAS_RANGE,
    REPLICAS_OPTION("node", CONFIG_U64, node, NULL, "", 1, UINT64_MAX,
                    "id of the node that shall have a replica"),
    REPLICAS_SHARED("60"),
};

static const struct config_option remove_options[] = {
    REPLICAS_RANGE,
    REPLICAS_OPTION("node", CONFIG_U64, node, NULL, "", 1, UINT64_MAX,
                    "id of the node that shall have none; it may be down"),
    REPLICAS_OPTION("force", CONFIG_BOOL, force, "false", "", 0, 0,
                    "also when the range then stands still as soon as one more node fails"),
    REPLICAS_SHARED("60"),
};

static const struct config_option move_options[] = {
    REPLICAS_RANGE,
    REPLICAS_OPTION("from", CONFIG_U64, from, NULL, "", 1, UINT64_MAX,
                    "id of the node that shall lose its replica; it may be down"),
    REPLICAS_OPTION("to", CONFIG_U64, to, NULL, "", 1, UINT64_MAX,
                    "id of the node that shall have it"),
    REPLICAS_SHARED("60"),
};

static const struct config_option transfer_options[] = {
    REPLICAS_RANGE,
    REPLICAS_OPTION("to-node", CONFIG_U64, to_node, NULL, "", 1, UINT64_MAX,
                    "id of the node that shall lead it"),
    REPLICAS_OPTION("timeout-ms", CONFIG_U64, timeout_ms, "5000", "ms", 1, 600000,
                    "give up after so long"),
    ADMIN_PLACEMENT(struct replicas_options),
    COMMON_OPTIONS(struct replicas_options),
};

static const struct config_table list_table = {
    .command = "admin replicas",
    .synopsis = "Prints a range's replicas as its leader knows them: on which nodes, who votes, "
                "how far each is.",
    .examples = "  flotilla admin replicas --range 3\n"
                "  flotilla admin replicas --range 3 --json\n",
    .options = list_options,
    .option_count = OPTION_COUNT(list_options),
};

static const struct config_table add_table = {
    .command = "admin add-replica",
    .synopsis = "Gives a range one more replica: a learner is added, gets the data, and votes once "
                "it has caught up. May be run again at any time.",
    .examples = "  flotilla admin add-replica --range 3 --node 4\n",
    .options = add_options,
    .option_count = OPTION_COUNT(add_options),
};

static const struct config_table remove_table = {
    .command = "admin remove-replica",
    .synopsis = "Takes a range's replica away from a node, which deletes its data. A leader hands "
                "over first. May be run again at any time.",
    .examples = "  flotilla admin remove-replica --range 3 --node 2\n",
    .options = remove_options,
    .option_count = OPTION_COUNT(remove_options),
};

static const struct config_table move_table = {
    .command = "admin move-replica",
    .synopsis = "Moves a range's replica from one node to another: the new one gets the data and "
                "catches up, then it votes and the old one goes in one step, so that there is no "
                "moment with fewer voters. May be run again at any time.",
    .examples = "  flotilla admin move-replica --range 3 --from 2 --to 4\n",
    .options = move_options,
    .option_count = OPTION_COUNT(move_options),
};

static const struct config_table transfer_table = {
    .command = "admin transfer",
    .synopsis =
        "Moves the leadership of a range to another of its replicas' nodes, and waits until "
        "that node leads. May be run again at any time.",
    .examples = "  flotilla admin transfer --range 3 --to-node 2\n",
    .options = transfer_options,
    .option_count = OPTION_COUNT(transfer_options),
};

/* ---- a command under way ---- */

struct session {
    const struct config_table *table;
    struct replicas_options options;
    struct rpc_loop *loop;
    struct placement_client *placement;
    struct router_runtime *runtime;
    uint64_t began_us, deadline_us;
    /* ---- of the request under way ---- */
    const struct router_request *request;
    bool answered;
    enum router_code code;
    struct buf text; /* what the last request that failed was told */
    /* ---- nodes that placement knows ---- */
    uint64_t *nodes;
    uint32_t node_count;
    /* ---- the range as last seen ---- */
    struct router_replicas now;
    struct range_descriptor descriptor;
    struct range_replica_progress progress[RANGE_REPLICAS_MAX];
    /* ---- progress ---- */
    char told[256];
    uint32_t steps;
    uint64_t pause_us;
    uint64_t unsafe_since_us; /* 0: the last look was not */
};

static uint64_t time_left_us(const struct session *session) {
    uint64_t now_us = rpc_loop_now_us(session->loop);
    return session->deadline_us > now_us ? session->deadline_us - now_us : 0;
}

static void pause_for(struct session *session, uint64_t pause_us) {
    static const bool never = false;
    uint64_t left_us = time_left_us(session);
    (void)rpc_loop_run_until(session->loop, &never, pause_us < left_us ? pause_us : left_us);
}

/* Longer each time, until a step succeeds. */
static void pause_longer(struct session *session) {
    pause_for(session, session->pause_us);
    session->pause_us *= 2;
    if (session->pause_us > PAUSE_US_MAX) session->pause_us = PAUSE_US_MAX;
}

/* A line of progress, once for as long as nothing else happens. */
static void tell(struct session *session, const char *text) {
    if (strcmp(session->told, text) == 0) return;
    (void)snprintf(session->told, sizeof(session->told), "%s", text);
    uint64_t ms = (rpc_loop_now_us(session->loop) - session->began_us) / 1000;
    printf("%4" PRIu64 ".%03" PRIu64 " s  range %" PRIu64 ": %s\n", ms / 1000, ms % 1000,
           session->options.range, text);
    (void)fflush(stdout); /* nobody to tell when stdout is gone */
}

/* ---- requests ---- */

static void keep_replicas(struct session *session, const struct router_replicas *replicas) {
    range_descriptor_copy(&session->descriptor, replicas->descriptor);
    session->now = *replicas;
    session->now.descriptor = &session->descriptor;
    session->now.progress = session->progress;
    for (uint32_t i = 0; i < replicas->progress_count; i++)
        session->progress[i] = replicas->progress[i];
}

static void request_done(void *ctx, const struct router_reply *reply) {
    struct session *session = ctx;
    session->answered = true;
    session->code = reply->code;
    if (reply->code == ROUTER_OK && reply->replicas) keep_replicas(session, reply->replicas);
    buf_clear(&session->text);
    if (reply->code == ROUTER_OK) return;
    buf_assign(&session->text, reply->text);
    if (reply->text.len == 0) buf_printf(&session->text, "it did not answer in time");
}

/* In a turn of the loop, at whose end the router's frames leave. */
static void submit(void *ctx) {
    struct session *session = ctx;
    router_submit(router_runtime_router(session->runtime), session->request,
                  rpc_loop_now_us(session->loop), request_done, session);
}

/* The router answers by the request's deadline at the latest. */
static enum router_code ask(struct session *session, struct router_request *request) {
    uint64_t limit_us = request->op == ROUTER_TRANSFER ? TRANSFER_US : REQUEST_US;
    uint64_t now_us = rpc_loop_now_us(session->loop);
    uint64_t left_us = time_left_us(session);
    request->range_id = session->options.range;
    request->deadline_us = now_us + (left_us < limit_us ? left_us : limit_us);
    session->answered = false;
    session->request = request;
    rpc_loop_call(session->loop, submit, session);
    while (!session->answered)
        (void)rpc_loop_run_until(session->loop, &session->answered, REQUEST_US);
    return session->code;
}

/* False: the range's leader was not found within the time, or there is no such range. */
static bool look(struct session *session) {
    struct router_request request = {.op = ROUTER_DESCRIBE};
    for (;;) {
        enum router_code code = ask(session, &request);
        if (code == ROUTER_OK) return true;
        if (code == ROUTER_INVALID || time_left_us(session) == 0) return false;
        pause_longer(session);
    }
}

static void take_step(struct session *session, const struct replica_step *step) {
    struct router_request request = {.op = ROUTER_CHANGE_REPLICAS,
                                     .epoch = session->descriptor.epoch,
                                     .change_count = step->change_count,
                                     .changes = step->changes};
    if (step->kind == REPLICA_STEP_TRANSFER)
        request = (struct router_request){.op = ROUTER_TRANSFER, .to_node = step->transfer_to};
    (void)ask(session, &request); /* follow_step has the code */
}

static void map_came(void *ctx, enum status status, struct slice text,
                     const struct placement_client_map *map) {
    struct session *session = ctx;
    session->answered = true;
    session->code = status == STATUS_OK ? ROUTER_OK : ROUTER_UNAVAILABLE;
    if (status != STATUS_OK) {
        buf_assign(&session->text, text);
        return;
    }
    session->node_count = map->node_count;
    session->nodes = memory_alloc((map->node_count + 1) * sizeof(session->nodes[0]));
    for (uint32_t i = 0; i < map->node_count; i++)
        session->nodes[i] = map->nodes[i].node_id;
}

static bool load_nodes(struct session *session) {
    session->answered = false;
    placement_client_ranges(session->placement, map_came, session);
    if (!rpc_loop_run_until(session->loop, &session->answered, time_left_us(session)))
        buf_printf(&session->text, "no answer");
    if (session->answered && session->code == ROUTER_OK) return true;
    common_complain_text(session->table->command, "placement at %s did not answer: %.*s",
                         session->options.placement, (int)session->text.len,
                         (const char *)session->text.data);
    return false;
}

/* ---- what is printed ---- */

static const char *last_text(struct session *session) {
    buf_append_byte(&session->text, 0);
    session->text.len--;
    return (const char *)session->text.data;
}

static void add_replica(const struct session *session, uint32_t index, cJSON *replicas) {
    const struct range_replica_ref *replica = &session->descriptor.replicas[index];
    const struct range_replica_progress *progress = replica_progress_of(&session->now, replica);
    cJSON *object = json_add_object(replicas, NULL);
    json_add_u64(object, "replica", replica->replica_id);
    json_add_u64(object, "node", replica->node_id);
    json_add_text(object, "role", replica_role_name(replica->role));
    json_add_bool(object, "leads", replica->node_id == session->now.leader_node);
    if (!progress) {
        json_add_null(object, "match");
        json_add_null(object, "behind_entries");
        json_add_null(object, "active");
        return;
    }
    json_add_u64(object, "match", progress->match);
    json_add_u64(object, "behind_entries", replica_lag(&session->now, progress));
    json_add_bool(object, "active", progress->active);
    json_add_bool(object, "gets_snapshot", progress->gets_snapshot);
    json_add_bool(object, "log_lost", progress->log_lost);
}

static void add_range(const struct session *session, cJSON *object) {
    const struct range_descriptor *descriptor = &session->descriptor;
    json_add_u64(object, "range", descriptor->range_id);
    json_add_u64(object, "leader_node", session->now.leader_node);
    json_add_u64(object, "term", session->now.term);
    json_add_u64(object, "commit_index", session->now.commit_index);
    json_add_u64(object, "conf_version", descriptor->epoch.conf_version);
    json_add_u64(object, "span_version", descriptor->epoch.span_version);
    json_add_bool(object, "joint", descriptor->joint);
    cJSON *replicas = json_add_array(object, "replicas");
    for (uint32_t i = 0; i < descriptor->replica_count; i++)
        add_replica(session, i, replicas);
}

static void print_replica(const struct session *session, const struct range_replica_ref *replica,
                          struct buf *out) {
    const struct range_replica_progress *progress = replica_progress_of(&session->now, replica);
    buf_printf(out, "replica %" PRIu64 " on node %" PRIu64 ": %s", replica->replica_id,
               replica->node_id, replica_role_name(replica->role));
    if (replica->node_id == session->now.leader_node)
        buf_printf(out, ", leads\n");
    else if (!progress)
        buf_printf(out, "\n");
    else if (progress->log_lost)
        buf_printf(out, ", HAS LOST ITS LOG: counts for nothing, replace it\n");
    else if (!progress->active)
        buf_printf(out, ", does not answer\n");
    else if (progress->gets_snapshot)
        buf_printf(out, ", gets a snapshot\n");
    else
        buf_printf(out, ", %" PRIu64 " entries behind\n", replica_lag(&session->now, progress));
}

static void print_range(const struct session *session, struct buf *out) {
    const struct range_descriptor *descriptor = &session->descriptor;
    buf_printf(out,
               "range %" PRIu64 ", conf_version %" PRIu64 ", span_version %" PRIu64
               ", term %" PRIu64 ", commit index %" PRIu64 "%s\n",
               descriptor->range_id, descriptor->epoch.conf_version, descriptor->epoch.span_version,
               session->now.term, session->now.commit_index,
               descriptor->joint ? ", joint: a change is under way" : "");
    for (uint32_t i = 0; i < descriptor->replica_count; i++)
        print_replica(session, &descriptor->replicas[i], out);
}

/* "1, 2 and 4 (learner)": where the range stands, in one sentence of a complaint. */
static void print_state(const struct session *session, struct buf *out) {
    const struct range_descriptor *descriptor = &session->descriptor;
    buf_printf(out, "it has replicas on nodes ");
    for (uint32_t i = 0; i < descriptor->replica_count; i++) {
        const struct range_replica_ref *replica = &descriptor->replicas[i];
        buf_printf(out, "%s%" PRIu64, i > 0 ? ", " : "", replica->node_id);
        if (replica->role != RANGE_VOTER)
            buf_printf(out, " (%s)", replica_role_name(replica->role));
    }
}

/* ---- ends ---- */

/* The line for programs; every end has it, once the range was seen. */
static void print_result(const struct session *session, bool done) {
    cJSON *object = json_object();
    json_add_bool(object, "done", done);
    json_add_u64(object, "steps", session->steps);
    json_add_u64(object, "elapsed_ms", (rpc_loop_now_us(session->loop) - session->began_us) / 1000);
    add_range(session, object);
    common_print_json_take(object);
}

static int fail(const struct session *session, const char *why, bool again) {
    struct buf text = {0};
    /* The router's own sentences begin with the range. */
    if (strncmp(why, "range ", strlen("range ")) != 0)
        buf_printf(&text, "range %" PRIu64 ": ", session->options.range);
    buf_printf(&text, "%s; ", why);
    print_state(session, &text);
    if (again) buf_printf(&text, "; running the command again goes on from there");
    print_result(session, false);
    (void)fflush(stdout); /* the complaint comes last */
    common_complain(session->table->command, &text);
    buf_done(&text);
    return CMD_FAILED;
}

/* What it was at, and what the last request that failed was told. */
static int fail_late(struct session *session, const char *step) {
    char why[768];
    const char *told = last_text(session);
    (void)snprintf(why, sizeof(why), "not done within %" PRIu64 " s: %s%s%s%s",
                   session->options.timeout_s, step, *told ? " (" : "", told, *told ? ")" : "");
    return fail(session, why, true);
}

static int finish(struct session *session) {
    tell(session, session->steps > 0 ? "done" : "nothing to do: it is as asked for");
    print_result(session, true);
    return CMD_OK;
}

/* ---- towards a goal ---- */

static bool known_node(const struct session *session, uint64_t node_id) {
    for (uint32_t i = 0; i < session->node_count; i++)
        if (session->nodes[i] == node_id) return true;
    return false;
}

static bool refuse_unknown_node(const struct session *session, uint64_t node_id) {
    if (node_id == 0 || known_node(session, node_id) ||
        range_descriptor_on_node(&session->descriptor, node_id))
        return false;
    char why[128];
    (void)snprintf(why, sizeof(why),
                   "node %" PRIu64 " is not known to placement (flotilla admin status lists the "
                   "nodes)",
                   node_id);
    (void)fail(session, why, false);
    return true;
}

/* True: it stays so, refuse. */
static bool stays_unsafe(struct session *session) {
    uint64_t now_us = rpc_loop_now_us(session->loop);
    if (session->unsafe_since_us == 0) session->unsafe_since_us = now_us;
    return now_us - session->unsafe_since_us >= UNSAFE_US;
}

/* What came of a step that was asked for; the next look has the last word on it. True: go on. */
static bool follow_step(struct session *session) {
    switch (session->code) {
    case ROUTER_OK:
        session->steps++;
        session->pause_us = PAUSE_US_MIN;
        return true;
    case ROUTER_INVALID:
    case ROUTER_CROSS_RANGE:
        return false;
    case ROUTER_UNKNOWN:
        session->steps++; /* perhaps */
        pause_longer(session);
        return true;
    case ROUTER_BUSY:
    case ROUTER_TIMEOUT:
    case ROUTER_UNAVAILABLE:
        pause_longer(session);
        return true;
    }
    return false;
}

static int pursue(struct session *session, const struct replica_goal *goal) {
    struct replica_step step = {0};
    if (!look(session)) {
        common_complain_text(session->table->command, "%s; nothing was begun", last_text(session));
        return CMD_FAILED;
    }
    if (refuse_unknown_node(session, goal->to) || refuse_unknown_node(session, goal->from))
        return CMD_FAILED;
    for (;;) {
        replica_goal_next(goal, &session->now, &step);
        if (step.kind != REPLICA_STEP_UNSAFE) session->unsafe_since_us = 0;
        if (step.kind == REPLICA_STEP_DONE) return finish(session);
        if (step.kind == REPLICA_STEP_REFUSED ||
            (step.kind == REPLICA_STEP_UNSAFE && stays_unsafe(session)))
            return fail(session, step.text, false);
        if (time_left_us(session) == 0) return fail_late(session, step.text);
        if (step.kind != REPLICA_STEP_UNSAFE) tell(session, step.text);
        if (step.kind == REPLICA_STEP_WAIT || step.kind == REPLICA_STEP_UNSAFE) {
            pause_longer(session);
        } else {
            take_step(session, &step);
            if (!follow_step(session)) return fail(session, last_text(session), false);
        }
        if (!look(session)) return fail_late(session, step.text);
    }
}

static int run_list(struct session *session) {
    struct buf out = {0};
    if (!look(session)) {
        common_complain_text(session->table->command, "%s", last_text(session));
        return CMD_FAILED;
    }
    if (session->options.json) {
        cJSON *object = json_object();
        add_range(session, object);
        json_print_take(&out, object);
        buf_append_byte(&out, '\n');
    } else {
        print_range(session, &out);
    }
    (void)fwrite(out.data, 1, out.len, stdout); /* nobody to tell when stdout is gone */
    buf_done(&out);
    return CMD_OK;
}

/* ---- the leadership ---- */

/* Why the node cannot lead, or has not come to. */
static int fail_transfer(const struct session *session, const char *told) {
    uint64_t to_node = session->options.to_node;
    const struct range_replica_ref *to = range_descriptor_on_node(&session->descriptor, to_node);
    const struct range_replica_progress *progress =
        to ? replica_progress_of(&session->now, to) : NULL;
    char why[512];
    if (!to || to->role != RANGE_VOTER)
        (void)snprintf(why, sizeof(why),
                       "node %" PRIu64 " has no replica that votes, so it cannot lead", to_node);
    else
        (void)snprintf(why, sizeof(why), "node %" PRIu64 " still leads: node %" PRIu64 " %s%s%s%s",
                       session->now.leader_node, to_node,
                       progress && !progress->active ? "does not answer it"
                                                     : "did not take over in time",
                       *told ? " (" : "", told, *told ? ")" : "");
    return fail(session, why, false);
}

/* Asks until the node leads: what counts is what the range says afterwards, not the answer. */
static int run_transfer(struct session *session) {
    const struct replica_step step = {.kind = REPLICA_STEP_TRANSFER,
                                      .transfer_to = session->options.to_node};
    while (look(session)) {
        const struct range_replica_ref *to =
            range_descriptor_on_node(&session->descriptor, session->options.to_node);
        if (session->now.leader_node == session->options.to_node) {
            printf("range %" PRIu64 ": node %" PRIu64 " leads, in term %" PRIu64 "\n",
                   session->options.range, session->now.leader_node, session->now.term);
            print_result(session, true);
            return CMD_OK;
        }
        if (!to || to->role != RANGE_VOTER) return fail_transfer(session, "");
        if (time_left_us(session) == 0) return fail_transfer(session, last_text(session));
        take_step(session, &step);
        if (!follow_step(session)) return fail_transfer(session, last_text(session));
    }
    if (session->descriptor.range_id) return fail_transfer(session, last_text(session));
    common_complain_text(session->table->command, "%s", last_text(session));
    return CMD_FAILED;
}

static int run_add(struct session *session) {
    return pursue(session, &(struct replica_goal){.to = session->options.node});
}

static int run_remove(struct session *session) {
    return pursue(session, &(struct replica_goal){.from = session->options.node,
                                                  .force = session->options.force});
}

static int run_move(struct session *session) {
    const struct replica_goal goal = {.to = session->options.to, .from = session->options.from};
    if (goal.to == goal.from) {
        common_complain_text(session->table->command, "--from and --to name the same node");
        return CMD_USAGE;
    }
    return pursue(session, &goal);
}

/* ---- life ---- */

static enum status open_session(struct session *session, struct buf *error) {
    struct placement_client_config config = {.loop = session->loop,
                                             .addresses = session->options.placement};
    enum status status = placement_client_new(&config, error, &session->placement);
    if (status != STATUS_OK) return status;
    return admin_router_new(session->loop, session->options.placement, session->placement,
                            REQUEST_US, error, &session->runtime);
}

static void close_session(struct session *session) {
    router_runtime_free(session->runtime);
    placement_client_free(session->placement);
    range_descriptor_done(&session->descriptor);
    buf_done(&session->text);
    memory_free(session->nodes);
    rpc_loop_free(session->loop);
    config_free_values(session->table, &session->options);
}

static int run(const struct config_table *table, int (*command)(struct session *session),
               int argument_count, char **arguments) {
    struct session session = {.table = table, .pause_us = PAUSE_US_MIN};
    struct buf error = {0};
    int exit_code = CMD_FAILED;
    switch (
        common_load(table, argument_count, arguments, &session.options, &session.options.common)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    /* The answer speaks for itself; connections coming and going do not matter here. */
    if (log_level_current == LOG_INFO) log_set_level(LOG_ERROR);
    session.loop = rpc_loop_new();
    session.began_us = rpc_loop_now_us(session.loop);
    session.deadline_us =
        session.began_us + session.options.timeout_s * 1000000 + session.options.timeout_ms * 1000;
    if (open_session(&session, &error) != STATUS_OK) {
        common_complain(table->command, &error);
        exit_code = CMD_USAGE;
    } else if (load_nodes(&session)) {
        exit_code = command(&session);
    }
    buf_done(&error);
    close_session(&session);
    return exit_code;
}

static int admin_replicas(int argument_count, char **arguments) {
    return run(&list_table, run_list, argument_count, arguments);
}

static int admin_transfer(int argument_count, char **arguments) {
    return run(&transfer_table, run_transfer, argument_count, arguments);
}

static int admin_add_replica(int argument_count, char **arguments) {
    return run(&add_table, run_add, argument_count, arguments);
}

static int admin_remove_replica(int argument_count, char **arguments) {
    return run(&remove_table, run_remove, argument_count, arguments);
}

static int admin_move_replica(int argument_count, char **arguments) {
    return run(&move_table, run_move, argument_count, arguments);
}

const struct command command_admin_replicas = {
    .name = "replicas",
    .help = "a range's replicas as its leader sees them",
    .run = admin_replicas,
    .table = &list_table,
};

const struct command command_admin_add_replica = {
    .name = "add-replica",
    .help = "give a node a replica of a range",
    .run = admin_add_replica,
    .table = &add_table,
};

const struct command command_admin_remove_replica = {
    .name = "remove-replica",
    .help = "take a replica away from a node",
    .run = admin_remove_replica,
    .table = &remove_table,
};

const struct command command_admin_move_replica = {
    .name = "move-replica",
    .help = "both, without a moment of fewer voters",
    .run = admin_move_replica,
    .table = &move_table,
};

const struct command command_admin_transfer = {
    .name = "transfer",
    .help = "move a range's leadership",
    .run = admin_transfer,
    .table = &transfer_table,
};
