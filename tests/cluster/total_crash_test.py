#!/usr/bin/python3
"""Everything is killed at once, under load, several times. The load generator lives on and settles
what it does not know; nothing that was acknowledged is lost, doubled or overbooked."""

import sys
import time

import cluster
from cluster import Cluster, expect_clean

ROUNDS = 3


def main():
    with Cluster(nodes=3, ranges=8) as c:
        bench = c.bench("hot-issuer", "--duration-s", "600", "--clients", "4", "--in-flight", "32",
                        "--timeout-ms", "1000", "--settle-s", "60", "--ledger", c.path("ledger"))
        for _ in range(ROUNDS):
            time.sleep(1.5)  # load, not a wait for something: how much is written hardly matters
            for process in c.processes():
                process.child.kill()
            for process in c.processes():
                process.kill()
            c.start()
            assert bench.running(), bench.tail(40)
        time.sleep(1)
        bench.child.send_signal(cluster.signal.SIGINT)
        figures = c.finish_bench(bench)
        expect_clean(figures)
        assert figures["acked"] > 1000, figures
        assert figures["unknown"] == 0, f"all can be settled, the cluster is back: {figures}"
        # The same once more from disk alone: after a clean stop of everything.
        for process in reversed(c.processes()):
            code = process.stop()
            assert code == 0, f"{process.name}: exit code {code}\n{process.tail()}"
        c.start()
        code, out, err = cluster.run(["bench", "verify", "--router", c.router_address,
                                      "--ledger", c.path("ledger")])
        assert code == 0, out + err
        print(out)


if __name__ == "__main__":
    sys.exit(main())
