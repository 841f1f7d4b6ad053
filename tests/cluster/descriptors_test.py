#!/usr/bin/python3
"""A burst of idle connections takes nobody's descriptors: writes go on, who knocks is refused, and served again later."""

import contextlib
import os
import resource
import socket
import sys
import time
import unittest

import cluster
from cluster import Cluster, expect_clean, wait_until

LIMIT = 1024
CONNECTIONS = 1200

cluster.need_binary()


def limited(process):
    """The process may have few files open, hard limit included."""
    resource.prlimit(process.child.pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))


def open_files(process):
    return len(os.listdir(f"/proc/{process.child.pid}/fd"))


@contextlib.contextmanager
def burst(port):
    with contextlib.ExitStack() as sockets:
        for _ in range(CONNECTIONS):
            sockets.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=5)))
        yield


class Descriptors(unittest.TestCase):
    def expect_full_then_room(self, process, port):
        with burst(port):
            wait_until("the burst is refused, and said", lambda: "rpc_connections_full" in process.log())
            self.assertLess(open_files(process), LIMIT * 3 // 4)
            time.sleep(1)
            self.assertTrue(process.running())
        wait_until("they are gone", lambda: open_files(process) < LIMIT // 8)

    def test_a_node_under_load(self):
        with Cluster(nodes=3, ranges=4) as c:
            _, leader = c.leader_of("issuer/MUNI-77/exposure")
            node = c.nodes[leader]
            limited(node)
            bench = c.bench("hot-issuer", "--duration-s", "8", "--clients", "4", "--in-flight", "8")
            self.expect_full_then_room(node, node.port)
            expect_clean(c.finish_bench(bench))
            code, out, error = cluster.run(["bench", "put", "--router", f"127.0.0.1:{node.port}", "--duration-s", "1"])
            self.assertEqual(code, 0, out + error)  # a new client at that very node

    def test_placement(self):
        with Cluster(nodes=3, ranges=4) as c:
            limited(c.placement)
            self.expect_full_then_room(c.placement, c.placement.port)
            self.assertTrue(c.status())
            node = c.nodes[0]
            node.stop()
            node.start()


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False, verbosity=2).result.wasSuccessful())
