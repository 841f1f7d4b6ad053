/* An echo server as a process: rpc_echo_child PORT CLUSTER NODE. Prints its port, serves until its
 * parent is gone. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/rpc/echo.h"

int main(int count, char **arguments) {
    char listen[32];
    if (count != 4) return 2;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* A test that crashes leaves nothing behind. */
    (void)snprintf(listen, sizeof(listen), "127.0.0.1:%s", arguments[1]);
    struct rpc_server_config config = {.listen = listen,
                                       .identity = {.cluster_id = strtoull(arguments[2], NULL, 10),
                                                    .node_id = strtoull(arguments[3], NULL, 10)}};
    struct echo_server *echo = echo_server_new(&config);
    printf("%u\n", rpc_server_port(echo->server));
    (void)fflush(stdout);
    for (;;)
        (void)pause();
}
