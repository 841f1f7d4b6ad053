/* `flotilla bench raft`: what the Raft core costs by itself. For each batch size the same group of
 * three goes on writing for a while; before that it warms up, so that what is counted is the steady
 * state. Ends with one line of JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bench/allocation.h"
#include "bench/limits.h"
#include "bench/raft_group.h"
#include "cmd/bench.h"
#include "cmd/commands.h"

#define WARM_UP_US 100000u
/* The clock is read once in so many rounds: a round of one entry takes about a microsecond. */
#define ROUNDS_PER_LOOK 256u
#define IDLE_BYTES_GOAL 4096u

struct raft_options {
    uint64_t duration_ms, payload_bytes;
    char *batches;
};

static const struct config_option options_table[] = {
    {"duration-ms", CONFIG_U64, offsetof(struct raft_options, duration_ms), "1000", "ms", 10,
     600000, "how long each row is measured, after a tenth of a second of warming up"},
    {"payload-bytes", CONFIG_U64, offsetof(struct raft_options, payload_bytes), "256", "bytes", 0,
     BENCH_RAFT_PAYLOAD_BYTES_MAX, "size of each entry; all of them share the bytes"},
    {"batches", CONFIG_TEXT, offsetof(struct raft_options, batches), "1,8,64,512", "", 0, 0,
     "entries proposed together: a row for each, 1 to 4096"},
};

static const struct config_table table = {
    .command = "bench raft",
    .synopsis =
        "Measures the Raft core alone: three replicas in this process, on one thread, with the "
        "store's settings. Messages are handed over in memory, an entry is durable at once, "
        "applying does nothing. Each round proposes a batch and goes on until all three have "
        "applied it. Bytes allocated per entry are those of all three cores, as jemalloc counts "
        "them for this thread (goal: none). Memory is that of one core whose group has fallen "
        "idle after work (goal: under 4 KiB). Needs no cluster.",
    .examples = "  flotilla bench raft\n"
                "  flotilla bench raft --batches 1,1024 --payload-bytes 0 --duration-ms 5000\n",
    .options = options_table,
    .option_count = OPTION_COUNT(options_table),
};

/* ---- batch sizes ---- */

struct batches {
    uint32_t sizes[BENCH_RAFT_BATCHES_MAX];
    uint32_t count, max;
};

static bool parse_batches(const char *text, struct batches *ret_batches) {
    struct batches batches = {0};
    while (*text) {
        char *end;
        unsigned long size = strtoul(text, &end, 10);
        if (end == text || *text == '-' || size == 0 || size > BENCH_RAFT_BATCH_MAX) return false;
        if (batches.count == BENCH_RAFT_BATCHES_MAX || (*end && *end != ',')) return false;
        batches.sizes[batches.count++] = (uint32_t)size;
        if (size > batches.max) batches.max = (uint32_t)size;
        text = *end ? end + 1 : end;
    }
    *ret_batches = batches;
    return batches.count > 0;
}

/* ---- measuring ---- */

/* One row: rounds of one kind, as many as fit. */
struct row {
    uint32_t batch; /* 0: heartbeats */
    uint64_t rounds, elapsed_us;
    struct raft_group_totals done;
    bool counted; /* the allocator counts */
    uint64_t allocated_bytes;
};

static uint64_t run_rounds(struct raft_group *group, uint32_t batch, uint64_t duration_us,
                           uint64_t *ret_elapsed_us) {
    const struct clock *clock = clock_system();
    uint64_t start_us = clock_monotonic_us(clock), elapsed_us = 0, rounds = 0;
    while (elapsed_us < duration_us) {
        for (uint32_t at = 0; at < ROUNDS_PER_LOOK; at++) {
            if (batch > 0) {
                raft_group_write(group, batch);
            } else {
                raft_group_heartbeat(group);
            }
        }
        rounds += ROUNDS_PER_LOOK;
        elapsed_us = clock_monotonic_us(clock) - start_us;
    }
    *ret_elapsed_us = elapsed_us;
    return rounds;
}

static struct row measure(struct raft_group *group, uint32_t batch, uint64_t duration_us) {
    struct row row = {.batch = batch};
    (void)run_rounds(group, batch, WARM_UP_US, &row.elapsed_us); /* not what is measured */
    struct raft_group_totals before = *raft_group_totals(group);
    struct bench_allocation from = {0}, to = {0};
    row.counted = bench_allocation_now(&from);
    row.rounds = run_rounds(group, batch, duration_us, &row.elapsed_us);
    row.counted = row.counted && bench_allocation_now(&to);
    row.allocated_bytes = to.allocated_bytes - from.allocated_bytes;
    const struct raft_group_totals *after = raft_group_totals(group);
    row.done = (struct raft_group_totals){.steps = after->steps - before.steps,
                                          .works = after->works - before.works,
                                          .entries = after->entries - before.entries,
                                          .messages = after->messages - before.messages};
    return row;
}

static double per_s(uint64_t count, const struct row *row) {
    return (double)count * 1e6 / (double)row->elapsed_us;
}

static double per_round(uint64_t count, const struct row *row) {
    return (double)count / (double)row->rounds;
}

static double allocated_per_entry(const struct row *row) {
    uint64_t units = row->batch > 0 ? row->done.entries : row->rounds;
    return (double)row->allocated_bytes / (double)units;
}

/* What one idle core holds: what is given back when it is freed. */
struct idle_memory {
    bool counted;
    uint64_t leader_bytes, follower_bytes;
};

static bool free_core(struct raft_group *group, uint32_t at, uint64_t *ret_bytes) {
    struct bench_allocation before = {0}, after = {0};
    bool counted = bench_allocation_now(&before);
    raft_group_lose(group, at);
    counted = counted && bench_allocation_now(&after);
    *ret_bytes = after.freed_bytes - before.freed_bytes;
    return counted;
}

static struct idle_memory measure_idle(struct raft_group *group) {
    struct idle_memory idle = {0};
    raft_group_heartbeat(group);
    raft_group_shrink(group);
    idle.counted =
        free_core(group, 0, &idle.leader_bytes) && free_core(group, 1, &idle.follower_bytes);
    return idle;
}

/* ---- telling ---- */

static void print_heading(void) {
    printf("%10s %14s %14s %12s %12s %14s %18s\n", "batch", "entries/s", "steps/s", "ns/entry",
           "steps/round", "messages/round", "bytes alloc/entry");
}

static void print_row(const struct row *row) {
    if (row->batch == 0) {
        printf("%10s %14s ", "heartbeat", "-");
    } else {
        printf("%10" PRIu32 " %14.0f ", row->batch, per_s(row->done.entries, row));
    }
    uint64_t units = row->batch > 0 ? row->done.entries : row->rounds;
    printf("%14.0f %12.0f %12.1f %14.1f ", per_s(row->done.steps, row),
           (double)row->elapsed_us * 1e3 / (double)units, per_round(row->done.steps, row),
           per_round(row->done.messages, row));
    if (row->counted) {
        printf("%18.3f\n", allocated_per_entry(row));
    } else {
        printf("%18s\n", "not counted");
    }
}

static void add_row(cJSON *object, const struct row *row) {
    bool writes = row->batch > 0;
    const char *allocated = writes ? "allocated_bytes_per_entry" : "allocated_bytes_per_round";
    if (writes) {
        json_add_u64(object, "batch", row->batch);
        json_add_decimal(object, "entries_per_s", per_s(row->done.entries, row), 0);
    } else {
        json_add_decimal(object, "rounds_per_s", per_s(row->rounds, row), 0);
    }
    json_add_decimal(object, "steps_per_s", per_s(row->done.steps, row), 0);
    if (row->counted)
        json_add_decimal(object, allocated, allocated_per_entry(row), 3);
    else
        json_add_null(object, allocated);
}

static void add_idle(cJSON *object, const struct idle_memory *idle) {
    if (idle->counted) {
        json_add_u64(object, "idle_leader_bytes", idle->leader_bytes);
        json_add_u64(object, "idle_follower_bytes", idle->follower_bytes);
    } else {
        json_add_null(object, "idle_leader_bytes");
        json_add_null(object, "idle_follower_bytes");
    }
}

static void print_idle(const struct idle_memory *idle) {
    if (!idle->counted) {
        printf("idle memory: not counted (built without jemalloc)\n");
        return;
    }
    printf("idle after work: leader %" PRIu64 " bytes, follower %" PRIu64
           " bytes (goal: under %u)\n",
           idle->leader_bytes, idle->follower_bytes, IDLE_BYTES_GOAL);
}

/* ---- the run ---- */

static void run(const struct raft_options *options, const struct batches *batches) {
    struct raft_group *group =
        raft_group_new(&(struct raft_group_config){batches->max, (uint32_t)options->payload_bytes});
    cJSON *json = json_object();
    uint64_t duration_us = options->duration_ms * 1000;
    print_heading();
    json_add_u64(json, "payload_bytes", options->payload_bytes);
    cJSON *writes = json_add_array(json, "writes");
    for (uint32_t at = 0; at < batches->count; at++) {
        fprintf(stderr, "[%" PRIu32 "/%" PRIu32 "] batches of %" PRIu32 "\n", at + 1,
                batches->count + 1, batches->sizes[at]);
        struct row row = measure(group, batches->sizes[at], duration_us);
        print_row(&row);
        add_row(json_add_object(writes, NULL), &row);
    }
    fprintf(stderr, "[%" PRIu32 "/%" PRIu32 "] heartbeats\n", batches->count + 1,
            batches->count + 1);
    struct row heartbeats = measure(group, 0, duration_us);
    print_row(&heartbeats);
    add_row(json_add_object(json, "heartbeats"), &heartbeats);
    struct idle_memory idle = measure_idle(group);
    print_idle(&idle);
    add_idle(json, &idle);
    common_print_json_take(json);
    raft_group_free(group);
}

static int bench_raft(int argument_count, char **arguments) {
    struct raft_options options = {0};
    switch (common_load(&table, argument_count, arguments, &options, NULL)) {
    case COMMON_USAGE:
        return CMD_USAGE;
    case COMMON_HELP_SHOWN:
        return CMD_OK;
    case COMMON_GO_ON:
        break;
    }
    struct batches batches;
    int exit_code = CMD_OK;
    if (parse_batches(options.batches, &batches)) {
        run(&options, &batches);
    } else {
        common_complain_text("bench raft",
                             "--batches: '%s' is no list of at most %u numbers from 1 to %u",
                             options.batches, BENCH_RAFT_BATCHES_MAX, BENCH_RAFT_BATCH_MAX);
        exit_code = CMD_USAGE;
    }
    config_free_values(&table, &options);
    return exit_code;
}

const struct command command_bench_raft = {
    .name = "raft",
    .help = "the Raft core alone, in this process; needs no cluster",
    .run = bench_raft,
    .table = &table,
};
