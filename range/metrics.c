#include "range/metrics.h"

METRICS_DEFINE(range, RANGE_METRICS)
