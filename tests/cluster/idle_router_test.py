#!/usr/bin/python3
"""A router that nobody asks for anything: it finds the range map by itself and becomes ready."""

import sys
import unittest

import cluster
from cluster import Cluster, wait_until

SERVING = b"\x08\x01"  # HealthCheckResponse {status: SERVING}


def serves(address, service=b""):
    request = b"\x0a" + bytes([len(service)]) + service if service else b""
    with grpc.insecure_channel(address) as channel:
        try:
            return channel.unary_unary("/grpc.health.v1.Health/Check")(request, timeout=2) == SERVING
        except grpc.RpcError:
            return False


class IdleRouter(unittest.TestCase):
    def test_becomes_ready_without_a_request(self):
        wait_until("SERVING", lambda: serves(c.router_address), 10)
        self.assertTrue(serves(c.router_address, b"flotilla.v1.KeyValue"))

    def test_becomes_ready_once_placement_is_there(self):
        c.placement.kill()
        c.router.kill()
        c.router.start()
        self.assertFalse(serves(c.router_address), "it cannot know any range yet")
        c.placement.start()
        wait_until("SERVING", lambda: serves(c.router_address), 20)


def main():
    global c
    with Cluster(nodes=1, ranges=2, replication=1) as c:
        result = unittest.main(verbosity=2, exit=False).result
        if not result.wasSuccessful():
            c.print_tails()
            return 1
        return 0


if __name__ == "__main__":
    cluster.need_binary()
    try:
        import grpc
    except ImportError:
        cluster.skip("python3-grpcio is not installed")
    sys.exit(main())
