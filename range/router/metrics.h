/* Metrics of the router: where the time of a write goes there (stages.c). */
#ifndef FLOTILLA_RANGE_ROUTER_METRICS_H
#define FLOTILLA_RANGE_ROUTER_METRICS_H

#include "base/metrics.h"

#define ROUTER_METRICS(X)                                                                      \
    X(router_stage_queue_us, HISTOGRAM, "us", "a write from its arrival until first sent")     \
    X(router_stage_retry_us, HISTOGRAM, "us", "a write from first sent until sent for good")   \
    X(router_stage_node_us, HISTOGRAM, "us", "a write from sent for good until it is decided") \
    X(router_stage_total_us, HISTOGRAM, "us", "a write at the router, all stages")

METRICS_DECLARE(ROUTER_METRICS)
void router_metrics_register(void); /* once per process, before threads start */

#endif
