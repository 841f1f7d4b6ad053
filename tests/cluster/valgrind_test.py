#!/usr/bin/python3
"""A node under valgrind takes part in a small run and is stopped: no error, and nothing lost of what
it allocated."""

import shutil
import sys

import cluster
from cluster import Cluster, expect_clean


def main():
    if not shutil.which("valgrind"):
        cluster.skip("valgrind is not installed")
    with Cluster(nodes=2, ranges=4, replication=1) as c:
        # A third node joins the cluster's processes late; it holds no ranges. The one that matters is
        # the second: restarted under valgrind with its data, it recovers, leads and is stopped.
        node = c.nodes[1]
        assert node.stop() == 0, node.tail()
        node.wrapper = ["valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full",
                        "--show-leak-kinds=definite,indirect", "--errors-for-leak-kinds=definite,indirect",
                        "--num-callers=30", "--soname-synonyms=somalloc=*jemalloc*"]
        node.start(timeout_s=90)
        c.wait_led(timeout_s=60)
        bench = c.bench("hot-issuer", "--count", "2000", "--duration-s", "0", "--clients", "2",
                        "--in-flight", "8", "--timeout-ms", "10000")
        expect_clean(c.finish_bench(bench))
        code = node.stop(timeout_s=60)
        if code != 0:
            print(node.log())
        assert code == 0, f"exit code {code}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
