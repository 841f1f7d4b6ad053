#include "storage/metrics.h"

METRICS_DEFINE(storage, STORAGE_METRICS)
