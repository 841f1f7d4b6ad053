/* Disks: how long a sync takes, what of it survives the end of its process, and how they break.
 *
 * What is written and not synced is lost or kept when power goes, cut at a write's boundary (the
 * engine's contract: a batch is atomic; what a torn record at the end of the real engine's log does
 * is tested where that engine is). After a failed operation the process has to be gone before it
 * does anything else: host.c, network.c. */
#include <inttypes.h>

#include "tests/sim/world.h"

uint64_t sim_disk_sync_time(struct sim_host *host) {
    return sim_around(host->sim, host->sync_us);
}

uint64_t sim_disk_stall_time(struct sim_host *host) {
    if (host->sync_us <= host->sim->config.sync_us) return 0;
    return sim_chance(host->sim, host->sim->config.stall_per_mille)
               ? prng_below(&host->sim->prng, host->sync_us)
               : 0;
}

enum status sim_disk_sync(struct sim_host *host, struct storage_batch *batch) {
    return storage_write(host->engine, batch,
                         host->sim->options.disks_lie ? STORAGE_BUFFERED : STORAGE_SYNCED);
}

void sim_disk_interrupt_sync(struct sim_host *host, struct storage_batch *batch) {
    if (sim_chance(host->sim, 500)) return;
    enum status status = storage_write(host->engine, batch, STORAGE_BUFFERED);
    if (status != STATUS_OK) sim_note(host->sim, "host %u: the write fails, too", host->index);
}

/* ---- faults ---- */

bool sim_disk_failed(const struct sim_host *host) {
    return host->engine && memory_engine_failed(host->engine);
}

static void arm(struct sim_host *host) {
    const struct sim_disk_fault *fault = &host->disk_fault;
    uint64_t countdown = prng_below(&host->sim->prng, fault->countdown_max + 1);
    memory_engine_fail(host->engine, fault->operations, countdown, fault->status);
}

void sim_disk_break(struct sim_host *host, const struct sim_disk_fault *fault) {
    if (sim_disk_failed(host)) return;
    host->disk_fault = *fault;
    if (host->up) arm(host);
    sim_note(host->sim, "host %u: its disk answers %s to %s%s%s", host->index,
             status_name(fault->status), fault->operations & MEMORY_ENGINE_READ ? "reads " : "",
             fault->operations & MEMORY_ENGINE_WRITE ? "writes " : "",
             fault->operations & MEMORY_ENGINE_SYNC ? "syncs" : "");
}

void sim_disk_repair(struct sim_host *host) {
    host->disk_fault = (struct sim_disk_fault){0};
    if (host->engine && !sim_disk_failed(host)) memory_engine_fail(host->engine, 0, 0, STATUS_OK);
}

void sim_disk_process_starts(struct sim_host *host) {
    if (host->disk_fault.until_us > host->sim->now_us) arm(host);
}

void sim_disk_process_ended(struct sim_host *host, enum sim_end end) {
    if (end == SIM_END_FAILURE) memory_engine_abandon(host->engine);
    size_t unsynced = memory_engine_unsynced_writes(host->engine);
    /* A process that is killed leaves its writes with the operating system. After a failure nothing
     * is certain. */
    memory_engine_crash(
        host->engine, end == SIM_END_KILL ? unsynced : prng_below(&host->sim->prng, unsynced + 1));
}
