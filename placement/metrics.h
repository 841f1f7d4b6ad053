/* What the placement driver counts (base/metrics.h). */
#ifndef FLOTILLA_PLACEMENT_METRICS_H
#define FLOTILLA_PLACEMENT_METRICS_H

#include "base/metrics.h"

#define PLACEMENT_METRICS(X)                                                                       \
    X(placement_timestamps_total, COUNTER, "timestamps", "timestamps handed out")                  \
    X(placement_timestamp_requests_total, COUNTER, "requests", "requests for timestamps answered") \
    X(placement_timestamp_waits_total, COUNTER, "requests",                                        \
      "requests for timestamps that waited for the bound or the lease")                            \
    X(placement_timestamp_bound, GAUGE, "timestamp", "persisted upper bound")                      \
    X(placement_registrations_total, COUNTER, "registrations", "registrations accepted")           \
    X(placement_refusals_total, COUNTER, "registrations", "registrations refused for good")        \
    X(placement_heartbeats_total, COUNTER, "heartbeats", "node heartbeats merged")                 \
    X(placement_clock_ahead_ms, GAUGE, "ms",                                                       \
      "by so much the wall clock is ahead of what is believed of it")                              \
    X(placement_leading, GAUGE, "", "1 while this member serves")

METRICS_DECLARE(PLACEMENT_METRICS)
void placement_metrics_register(void);

#endif
