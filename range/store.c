#include "range/store.h"

#include "base/assert.h"
#include "base/memory.h"
#include "range/recover.h"
#include "range/worker.h"

static enum status check_config(const struct range_store_config *config, struct buf *error) {
    const char *wrong = NULL;
    if (config->node_id == 0)
        wrong = "the node id is 0; placement hands out positive ones";
    else if (config->workers == 0 || config->workers > RANGE_WORKERS_MAX)
        wrong = "the number of workers must be 1 to 64";
    else if (config->tick_us == 0 || config->heartbeat_ticks == 0)
        wrong = "tick and heartbeat must be positive";
    else if (config->election_ticks <= config->heartbeat_ticks)
        wrong = "the election time-out must be longer than the heartbeat";
    else if (config->lease_reads && config->lease_drift_ppm >= 1000000)
        wrong = "the clock drift must be below 1,000,000 ppm";
    else if (config->append_bytes_max > RANGE_APPEND_BYTES_MAX)
        wrong = "an append may hold 1 MiB of entries at most";
    if (!wrong) return STATUS_OK;
    buf_printf(error, "range store: %s", wrong);
    return STATUS_INVALID;
}

enum status range_store_open(const struct range_store_config *config, struct storage_engine *engine,
                             const struct range_transport *transport,
                             const struct range_oracle *oracle, const struct clock *clock,
                             struct buf *error, struct range_store **ret_store) {
    enum status status = check_config(config, error);
    if (status != STATUS_OK) return status;
    struct range_store *store = MEMORY_NEW(struct range_store);
    store->config = *config;
    store->engine = engine;
    store->transport = *transport;
    store->oracle = *oracle;
    store->clock = clock;
    store->worker_count = config->workers;
    for (uint32_t i = 0; i < store->worker_count; i++)
        store->workers[i] = range_worker_new(store, i);
    status = range_promise_open(store, error);
    if (status == STATUS_OK) status = range_recover(store, error);
    if (status != STATUS_OK) {
        range_store_free(store);
        return status;
    }
    *ret_store = store;
    return STATUS_OK;
}

void range_store_free(struct range_store *store) {
    if (!store) return;
    for (uint32_t i = 0; i < store->worker_count; i++)
        range_worker_free(store->workers[i]);
    memory_free(store);
}

uint32_t range_store_worker_count(const struct range_store *store) {
    return store->worker_count;
}

struct range_worker *range_store_worker(struct range_store *store, uint32_t worker) {
    ASSERT_CMP(worker, <, store->worker_count);
    return store->workers[worker];
}

_Static_assert(RANGE_WORKERS_MAX == 64, "the text of check_config names it");
