/* Reading where the time of writes went from the processes of a cluster. */
#ifndef FLOTILLA_CMD_BENCH_STAGES_H
#define FLOTILLA_CMD_BENCH_STAGES_H

#include <stdio.h>

#include "bench/stages.h"
#include "rpc/loop.h"

struct stages_source {
    struct rpc_loop *loop; /* not running; turned while waiting */
    const char *router;    /* one or several, comma-separated; nodes may be among them */
    const char *placement; /* knows where the nodes are */
};

/* All that router and nodes have counted so far; the caller frees it (memory_free). UNAVAILABLE
 * with a sentence: somebody did not answer. */
enum status stages_fetch(const struct stages_source *source, struct bench_stages **ret_stages,
                         struct buf *error) MUST_CHECK;
void stages_print(FILE *out, const struct bench_stages *stages,
                  const struct bench_stages_client *client);

#endif
