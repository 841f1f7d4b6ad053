/* Defines and registers the table of placement/metrics.h. */
#include "placement/metrics.h"

METRICS_DEFINE(placement, PLACEMENT_METRICS)
