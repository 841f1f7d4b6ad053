#!/usr/bin/python3
"""A node under valgrind recovers its ranges, leads some, takes part in a small run, hands its leaders
over and stops: no error, and nothing lost of what it allocated."""

import shutil
import sys

import cluster
from cluster import Cluster, expect_clean, run

VALGRIND = ["valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full",
            "--show-leak-kinds=definite,indirect", "--errors-for-leak-kinds=definite,indirect",
            "--num-callers=30", "--soname-synonyms=somalloc=*jemalloc*"]


def main():
    if not shutil.which("valgrind"):
        cluster.skip("valgrind is not installed")
    # A slower Raft clock: under valgrind everything is twenty times slower.
    with Cluster(nodes=3, ranges=4, node_options=("--heartbeat-ms", "300", "--election-timeout-ms", "2000",
                                                  "--drain-ms", "10000")) as c:
        node = c.nodes[1]
        assert node.stop() == 0, node.tail()
        node.wrapper = VALGRIND
        node.start(timeout_s=90)
        status = c.wait_led(timeout_s=60)
        for r in status["ranges"][:2]:
            code, out, err = run(["admin", "transfer", "--placement", c.placement_address, "--range", r["id"],
                                  "--to-node", c.node_id(1), "--timeout-ms", 20000])
            assert code == 0, out + err
        bench = c.bench("hot-issuer", "--count", "2000", "--duration-s", "0", "--clients", "2",
                        "--in-flight", "8", "--timeout-ms", "20000")
        expect_clean(c.finish_bench(bench))
        code = node.stop(timeout_s=60)
        if code != 0:
            print(node.log())
        assert code == 0, f"exit code {code}"
        assert " drained " in node.log(), node.tail()
    return 0


if __name__ == "__main__":
    sys.exit(main())
