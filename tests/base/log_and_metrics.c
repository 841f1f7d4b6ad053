/* What operators read: log lines and the metrics page. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "log_capture.h"

/* Protects the shape that log collectors parse. */
Test(base_log, a_line_is_time_level_event_and_pairs) {
    struct log_capture capture;
    log_capture_start(&capture);
    log_info("range_leader", "range=%d term=%d", 17, 4);
    const char *line = log_capture_read(&capture);
    int year, month, day, hour, minute, used = 0;
    double second;
    cr_assert_eq(sscanf(line, "%4d-%2d-%2dT%2d:%2d:%9lfZ %n", &year, &month, &day, &hour, &minute,
                        &second, &used),
                 6);
    cr_assert_str_eq(line + used, "info range_leader range=17 term=4\n");
    cr_assert_geq(year, 2024);
}

/* Protects the level: what is below is not written, and its arguments are not evaluated. */
Test(base_log, lines_below_the_level_cost_nothing) {
    struct log_capture capture;
    log_capture_start(&capture);
    log_set_level(LOG_WARN);
    int evaluated = 0;
    log_info("quiet", "n=%d", ++evaluated);
    cr_assert_eq(evaluated, 0);
    cr_assert_str_eq(log_capture_read(&capture), "");
    log_warn("loud", "n=%d", ++evaluated);
    cr_assert(strstr(log_capture_read(&capture), " warn loud n=1\n"));
    log_set_level(LOG_NONE);
    log_error("loud", "n=%d", ++evaluated);
    cr_assert_str_eq(log_capture_read(&capture), "");
    enum log_level level = LOG_INFO;
    cr_assert(log_level_parse("debug", &level));
    cr_assert_eq(level, LOG_DEBUG);
    cr_assert(!log_level_parse("verbose", &level));
    cr_assert_eq(level, LOG_DEBUG);
}

/* Protects one event per line, whatever a value holds, and errno of whoever logs on an error path.
 */
Test(base_log, a_line_stays_one_line) {
    struct log_capture capture;
    log_capture_start(&capture);
    log_info("event", "value=%s", "a\nb\033[31mc");
    cr_assert(strstr(log_capture_read(&capture), "event value=a?b?[31mc\n"));
}

/* Protects whoever logs on an error path and then reads errno; nor may a lost log stop anything. */
Test(base_log, errno_survives_even_a_failing_write) {
    log_set_fd(-1);
    errno = ENOSPC;
    log_info("event", "n=%d", 1);
    cr_assert_eq(errno, ENOSPC);
}

/* Protects the stack: too long a line is cut, and says so. */
Test(base_log, a_long_line_is_cut_visibly) {
    struct log_capture capture;
    log_capture_start(&capture);
    static char text[10000];
    memset(text, 'x', sizeof(text) - 1);
    log_info("event", "value=%s", text);
    const char *line = log_capture_read(&capture);
    cr_assert_leq(strlen(line), 4096);
    cr_assert_str_eq(line + strlen(line) - 7, "xx ...\n");
}

static void *log_many(void *ctx) {
    for (int i = 0; i < 50; i++)
        log_info("parallel", "thread=%s", (const char *)ctx);
    return NULL;
}

/* Protects lines of several threads from mixing. */
Test(base_log, lines_of_threads_do_not_mix) {
    struct log_capture capture;
    log_capture_start(&capture);
    pthread_t threads[2];
    static char names[2][8] = {"aaaaaaa", "bbbbbbb"};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, log_many, names[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    char *rest = (char *)(uintptr_t)log_capture_read(&capture), *line;
    int lines = 0;
    while ((line = strsep(&rest, "\n")) && *line) {
        const char *end = line + strlen(line) - strlen("parallel thread=aaaaaaa");
        cr_assert(strcmp(end, "parallel thread=aaaaaaa") == 0 ||
                      strcmp(end, "parallel thread=bbbbbbb") == 0,
                  "%s", line);
        lines++;
    }
    cr_assert_eq(lines, 100);
}

/* Protects users' data: keys are not in the log unless asked for. */
Test(base_log, user_keys_are_redacted_unless_shown) {
    struct slice key = slice_from_text("issuer/MUNI-77");
    cr_assert_str_eq(log_key(key), "redacted:14B");
    log_set_user_keys(true);
    cr_assert_str_eq(log_key(key), "issuer/MUNI-77");
}

/* Protects the parser of key=value: bytes that would break a pair are escaped, long ones cut. */
Test(base_log, bytes_are_printable_and_bounded) {
    cr_assert_str_eq(log_bytes(SLICE_EMPTY), "\"\"");
    cr_assert_str_eq(log_bytes(slice_make("a b\0=\\\xff", 7)), "a\\x20b\\x00\\x3d\\x5c\\xff");
    static uint8_t many[1000];
    memset(many, 0xff, sizeof(many));
    const char *cut = log_bytes(slice_make(many, sizeof(many)));
    cr_assert_lt(strlen(cut), 192);
    cr_assert_str_eq(cut + strlen(cut) - 3, "...");
}

/* Protects a line that prints several keys. */
Test(base_log, eight_texts_are_valid_together) {
    const char *texts[8];
    for (int i = 0; i < 8; i++)
        texts[i] = log_bytes(slice_make(&"abcdefgh"[i], 1));
    for (int i = 0; i < 8; i++)
        cr_assert_eq(texts[i][0], 'a' + i);
}

#define SHIP_METRICS(X)                                     \
    X(ship_sails_total, COUNTER, "sails", "sails ever set") \
    X(ship_crew, GAUGE, "people", "people on board")        \
    X(ship_turn_us, HISTOGRAM, "us", "time that one turn took")
METRICS_DECLARE(SHIP_METRICS)
void ship_metrics_register(void);
METRICS_DEFINE(ship, SHIP_METRICS)

/* Protects the Prometheus page. */
Test(base_metrics, render_as_prometheus_text) {
    ship_metrics_register();
    ship_metrics_register(); /* harmless, for processes that open two stores */
    metric_add(&metric_ship_sails_total, 2);
    metric_add(&metric_ship_sails_total, 3);
    metric_set(&metric_ship_crew, -1);
    metric_observe(&metric_ship_turn_us, 0);
    metric_observe(&metric_ship_turn_us, 5);
    metric_observe(&metric_ship_turn_us, UINT64_C(1) << 50);
    struct buf out = {0};
    metrics_render(&out);
    buf_append_byte(&out, 0);
    const char *page = (const char *)out.data;
    static const char *const expected[] = {
        "# HELP ship_sails_total sails ever set (sails)\n# TYPE ship_sails_total counter\n"
        "ship_sails_total 5\n# HELP ship_crew",
        "# TYPE ship_crew gauge\nship_crew -1\n",
        "# TYPE ship_turn_us histogram\nship_turn_us_bucket{le=\"0\"} 1\n",
        "ship_turn_us_bucket{le=\"4\"} 1\nship_turn_us_bucket{le=\"5\"} 2\n",
        "ship_turn_us_bucket{le=\"+Inf\"} 3\nship_turn_us_sum 1125899906842629\n"
        "ship_turn_us_count 3\n",
    };
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        cr_assert(strstr(page, expected[i]), "missing:\n%s\nin:\n%s", expected[i], page);
    }
    cr_assert_null(strstr(strstr(page, "\nship_crew -1") + 1, "\nship_crew -1"), "rendered twice");
    buf_done(&out);
}

/* Protects quantiles read from buckets: each value lies in the bucket whose bounds say so, and no
 * bucket is wider than a quarter of its values. */
Test(base_metrics, every_value_is_within_its_bucket) {
    static struct metric wide = {
        .name = "wide", .unit = "us", .help = "h", .kind = METRIC_HISTOGRAM};
    uint64_t expected[METRIC_HISTOGRAM_BUCKETS] = {0};
    for (uint64_t power = 0; power < 42; power++) {
        for (int64_t off = -1; off <= 1; off++) {
            uint64_t value = (UINT64_C(1) << power) + (UINT64_C(1) << power) / 2 + (uint64_t)off;
            unsigned bucket = 0;
            while (metric_bucket_bound(bucket) < value)
                bucket++;
            expected[bucket]++;
            metric_observe(&wide, value);
        }
    }
    for (unsigned i = 0; i < METRIC_HISTOGRAM_BUCKETS; i++)
        cr_assert_eq(wide.buckets[i], expected[i], "bucket %u", i);
    for (unsigned i = 4; i + 1 < METRIC_HISTOGRAM_BUCKETS; i++)
        cr_assert_leq(metric_bucket_bound(i) - metric_bucket_bound(i - 1),
                      metric_bucket_bound(i - 1) / 4 + 1);
}

#define CREW_FAMILIES(X) X(crew_us, HISTOGRAM, "us", "by ship", "ship", 2)
METRIC_FAMILIES_DECLARE(CREW_FAMILIES)
void crew_families_register(void);
METRIC_FAMILIES_DEFINE(crew, CREW_FAMILIES)

/* Protects figures that differ by node: each value of the label has its own, a value keeps its
 * member, and a full family says so instead of mixing. */
Test(base_metrics, a_family_tells_its_members_apart) {
    struct metric_family *family = &family_crew_us;
    crew_families_register();
    crew_families_register(); /* harmless */
    metric_observe_many(metric_family_member(family, 7), 2, 5);
    struct buf out = {0};
    metrics_render(&out);
    buf_append_byte(&out, 0);
    const char *page = (const char *)out.data;
    cr_assert(strstr(page, "# TYPE crew_us histogram\ncrew_us_bucket{ship=\"7\",le=\"0\"} 0\n"),
              "%s", page);
    cr_assert(strstr(page, "le=\"2\"} 5\ncrew_us_bucket{ship=\"7\",le=\"+Inf\"} 5\n"
                           "crew_us_sum{ship=\"7\"} 10\ncrew_us_count{ship=\"7\"} 5\n"),
              "%s", page);
    cr_assert_null(strstr(page, "ship=\"0\""), "a member that was not given out is not shown");
    cr_assert_eq(metric_family_member(family, 7), &family->members[0]);
    cr_assert_eq(metric_family_member(family, 9), &family->members[1]);
    cr_assert_null(metric_family_member(family, 11));
    buf_done(&out);
}

/* Protects dashboards: a counter never goes back. */
Test(base_metrics, a_counter_refuses_to_go_back, .signal = SIGABRT) {
    metric_add(&metric_ship_sails_total, -1);
}

/* Protects against two folders that use one name. */
Test(base_metrics, two_metrics_cannot_share_a_name, .signal = SIGABRT) {
    static struct metric twin = {.name = "ship_crew", .unit = "people", .help = "another"};
    ship_metrics_register();
    metrics_register(&twin);
}

static void *observe_many(void *ctx) {
    (void)ctx; /* nothing to pass */
    for (int i = 0; i < 10000; i++) {
        metric_add(&metric_ship_sails_total, 1);
        metric_observe(&metric_ship_turn_us, 1);
    }
    return NULL;
}

/* Protects totals against lost updates between threads. */
Test(base_metrics, updates_from_threads_all_count) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, observe_many, NULL), 0);
    }
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(metric_ship_sails_total.value, 40000);
    cr_assert_eq(metric_ship_turn_us.buckets[1], 40000);
}
