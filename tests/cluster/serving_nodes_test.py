#!/usr/bin/python3
"""Nodes serve clients without a router between: for ranges that they lead and for all others, while
leaders move and nodes die. Told not to, they say so."""

import os
import re
import signal
import sys
import time
import unittest

import cluster
from cluster import Cluster, expect_clean, wait_until

kv = services = grpc = c = None
KEYS = [f"issuer/MUNI-{i}/key".encode() for i in range(0, 256, 8)]


def stub(node):
    return services.KeyValueStub(grpc.insecure_channel(f"127.0.0.1:{node.port}"))


def addresses():
    return ",".join(f"127.0.0.1:{node.port}" for node in c.nodes)


def stale_reads(node):
    """That the node's replicas have answered."""
    code, out, err = cluster.run(["admin", "metrics", "--address", f"127.0.0.1:{node.port}"])
    assert code == 0, err
    return int(re.search(r"(?m)^range_reads_stale_total (\d+)", out).group(1))


def lead_everywhere():
    """Every node leads a range. Nobody moves leaders back after a test has killed their node, or an election on a
    busy machine has moved them."""
    def spread():
        elsewhere = [(r, node) for r, node in zip(c.status()["ranges"], map(c.node_id, range(3)))
                     if r["leader_node"] != node]
        for r, node in elsewhere:
            cluster.run(["admin", "transfer", "--range", r["id"], "--to-node", node,
                         "--placement", c.placement_address])
        return not elsewhere
    wait_until("every node leads a range", spread, 30)


class ServingNodes(unittest.TestCase):
    def setUp(self):
        for node in c.nodes:
            if not node.running():
                node.child = None
                node.start()
        c.wait_led()

    def test_every_node_serves_every_range(self):
        lead_everywhere()
        for i, node in enumerate(c.nodes):
            for key in KEYS:
                stub(node).Put(kv.PutRequest(key=key, value=b"%d" % i), timeout=10)
            for other in c.nodes:
                rows = stub(other).Scan(kv.ScanRequest(start=KEYS[0], end=b"issuer/N"), timeout=10).rows
                self.assertEqual({r.key for r in rows}, set(KEYS))
                self.assertEqual({r.value for r in rows}, {b"%d" % i})
        for key in KEYS:  # the load generator knows all that begins with issuer/
            stub(c.nodes[0]).Delete(kv.DeleteRequest(key=key), timeout=10)

    def test_answers_stale_reads_itself(self):
        """Each node from its own replicas, whoever leads the ranges."""
        for key in KEYS:
            stub(c.nodes[0]).Put(kv.PutRequest(key=key, value=b"s"), timeout=10)
        for node in c.nodes:
            before = [stale_reads(other) for other in c.nodes]
            for key in KEYS:
                answer = stub(node).Get(kv.GetRequest(key=key, mode=kv.READ_MODE_STALE), timeout=10)
                self.assertLessEqual(answer.version, answer.as_of)
            more = [stale_reads(other) - count for other, count in zip(c.nodes, before)]
            self.assertEqual(more, [len(KEYS) if other is node else 0 for other in c.nodes])
        for key in KEYS:
            stub(c.nodes[0]).Delete(kv.DeleteRequest(key=key), timeout=10)

    def test_load_on_the_nodes_loses_nothing_when_one_is_killed_and_one_stops(self):
        c.router.kill()
        bench = c.bench("hot-issuer", "--router", addresses(), "--clients", "32", "--in-flight", "4",
                        "--duration-s", "6", "--timeout-ms", "1000", "--limit", "100000000")
        time.sleep(1.5)
        _, hottest = c.leader_of("issuer/")
        c.nodes[hottest].kill()
        time.sleep(1.5)
        c.nodes[hottest].start()
        c.wait_led()
        other = c.nodes[(hottest + 1) % 3]
        other.child.send_signal(signal.SIGTERM)
        self.assertEqual(other.wait(30), 0, other.tail())
        figures = c.finish_bench(bench)
        expect_clean(figures)
        self.assertEqual(figures["unknown"], 0)
        self.assertGreater(figures["acked"], 1000)
        c.router.child = None
        c.router.start()

    def test_stops_cleanly_with_requests_under_way(self):
        """Without a quorum the node's own router waits for a leader; the stop answers whoever waits."""
        for node in c.nodes[1:]:
            node.kill()
        call = stub(c.nodes[0]).Put.future(kv.PutRequest(key=KEYS[0], value=b"x"), timeout=20)
        time.sleep(0.5)
        c.nodes[0].child.send_signal(signal.SIGTERM)
        self.assertEqual(c.nodes[0].wait(20), 0, c.nodes[0].tail())
        S = grpc.StatusCode
        self.assertIn(call.exception(timeout=5).code(), (S.UNAVAILABLE, S.UNKNOWN, S.CANCELLED))

    def test_called_before_its_registration_is_answered(self):
        """A node that comes back at another address waits until placement has noticed that the old process is gone;
        its port is open meanwhile. Clients are refused without a change, and served as soon as it is ready."""
        c.nodes[2].kill()
        moved = c.make_node(5, data_dir=c.path("node3"))
        moved.launch()
        self.addCleanup(lambda: moved.running() and moved.kill())  # else it holds node 3's directory for ever
        refused, patience = 0, time.monotonic() + 60
        while not os.path.exists(moved.ready_path):
            self.assertTrue(moved.running(), moved.tail())
            self.assertLess(time.monotonic(), patience, moved.tail())
            try:
                stub(moved).Get(kv.GetRequest(key=KEYS[0]), timeout=5)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE, error.details())
                refused += "is starting" in error.details()
            time.sleep(0.02)
        self.assertGreater(refused, 0, "nobody called early: this tested nothing")
        stub(moved).Put(kv.PutRequest(key=KEYS[0], value=b"early"), timeout=10)
        self.assertEqual(stub(c.nodes[0]).Get(kv.GetRequest(key=KEYS[0]), timeout=10).value, b"early")
        self.assertEqual(moved.stop(), 0, moved.tail())
        c.nodes[2].child = None  # setUp starts it again

    def test_told_not_to(self):
        node = c.make_node(4, ["--no-serve-clients"])
        node.start()
        with self.assertRaises(grpc.RpcError) as caught:
            stub(node).Get(kv.GetRequest(key=b"k"), timeout=5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        node.kill()


def main():
    global c, kv, services, grpc
    import tempfile
    with tempfile.TemporaryDirectory() as directory:
        kv, services = cluster.generated_client(directory)
        import grpc as module
        grpc = module
        with Cluster(nodes=3, ranges=8) as c:
            result = unittest.main(verbosity=2, exit=False).result
            if not result.wasSuccessful():
                c.print_tails()
                return 1
            return 0


if __name__ == "__main__":
    cluster.need_binary()
    sys.exit(main())
