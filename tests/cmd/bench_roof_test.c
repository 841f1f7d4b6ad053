/* The roofs of a machine: the figures add up, and every part can be measured at all. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/roof.h"

#define SHORT_S 0.02

static bool has_text(const struct buf *buf, const char *text) {
    return memmem(buf->data, buf->len, text, strlen(text)) != NULL;
}

/* Programs that read the JSON line find each figure under its key, and a peer only where one was.
 */
Test(bench_roof, json_names_each_figure_once) {
    struct roof_list list = {
        .figures = {{.key = "a", .unit = "syncs", .per_s = 10, .cpu_us = 1.5, .peer_cpu_us = -1},
                    {.key = "b", .unit = "calls", .per_s = 20, .peer_cpu_us = 0.25, .p99_us = 7}},
        .count = 2};
    struct buf json = {0};
    roof_append_json(&json, &list);
    buf_append_byte(&json, 0);
    cr_assert_str_eq((const char *)json.data,
                     "{\"a\":{\"unit\":\"syncs\",\"per_s\":10,\"cpu_us\":1.50,\"p50_us\":0,"
                     "\"p99_us\":0},\"b\":{\"unit\":\"calls\",\"per_s\":20,\"cpu_us\":0.00,"
                     "\"peer_cpu_us\":0.25,\"p50_us\":0,\"p99_us\":7}}");
    buf_done(&json);
}

/* Rates count units over time, not messages, and a figure without a single unit stays at zero. */
Test(bench_roof, meter_counts_units) {
    struct roof_list list = {0};
    struct roof_figure name = {.key = "k", .text = "t", .unit = "items"};
    struct roof_meter meter;
    roof_meter_begin(&meter, NULL, 1);
    roof_meter_end(&meter, &name, &list);
    cr_assert_eq(list.figures[0].per_s, 0);
    meter.units = 64;
    histogram_record(&meter.latencies, 9);
    meter.start_us = roof_now_us() - 1000000;
    roof_meter_end(&meter, &name, &list);
    cr_assert_float_eq(list.figures[1].per_s, 64, 2);
    cr_assert_eq(list.figures[1].p50_us, 9);
    cr_assert_lt(list.figures[1].peer_cpu_us, 0);
}

/* A peer that cannot serve is an error with a sentence, not a wait for ever. */
static void serve_nothing(int announce_fd) {
    (void)close(announce_fd);
}

Test(bench_roof, peer_that_ends_is_told) {
    struct roof_peer peer = {0};
    struct buf error = {0};
    cr_assert_eq(roof_peer_start(&peer, serve_nothing, &error), STATUS_IO);
    cr_assert(has_text(&error, "ended before it served"));
    cr_assert_eq(peer.pid, 0);
    buf_done(&error);
}

/* Every part works end to end, and each figure saw at least one unit. */
Test(bench_roof, every_part_can_be_measured) {
    struct roof_peer rpc = {0}, socket = {0};
    struct buf error = {0};
    struct roof_list *list = calloc(1, sizeof(*list));
    char directory[] = "/tmp/flotilla-roof.XXXXXX", command[64];
    cr_assert_eq(roof_peer_start(&rpc, roof_serve_rpc, &error), STATUS_OK);
    cr_assert_eq(roof_peer_start(&socket, roof_serve_socket, &error), STATUS_OK);
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(roof_measure_disk(directory, SHORT_S, list, &error), STATUS_OK);
    cr_assert_eq(roof_measure_engine(directory, SHORT_S, list, &error), STATUS_OK);
    cr_assert_eq(roof_measure_socket(&socket, SHORT_S, list, &error), STATUS_OK);
    roof_measure_rpc(&rpc, SHORT_S, list);
    cr_assert_eq(list->count, 16);
    for (size_t i = 0; i < list->count; i++)
        cr_assert_gt(list->figures[i].per_s, 0, "%s", list->figures[i].key);
    roof_peer_stop(&rpc);
    roof_peer_stop(&socket);
    (void)snprintf(command, sizeof(command), "rm -r %s", directory);
    cr_assert_eq(system(command), 0);
    free(list);
    buf_done(&error);
}
