/* The metrics of rpc/: defined here, once. */
#include "rpc/metrics.h"

METRICS_DEFINE(rpc, RPC_METRICS)
