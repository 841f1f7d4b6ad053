#!/usr/bin/python3
"""A router that alone has lost its way to a leader serves its clients through another node: at once where
connections break, after the keepalive where packets vanish; nothing is lost or doubled, and nobody else notices."""

import re
import sys
import time
import unittest

import cluster
from cluster import Cluster, expect_clean, free_port, wait_until
from proxy import Proxy

KEY = "issuer/MUNI-77/exposure"


def metric(address, name):
    code, out, err = cluster.run(["admin", "metrics", "--address", address])
    assert code == 0, err
    return int(re.search(rf"(?m)^{name} (\d+)", out).group(1))


def put(key, timeout_ms):
    """Through the router; how long it took, and its exit code."""
    began = time.monotonic()
    code, _, err = cluster.run(["put", key, "v", "--router", c.router_address, "--timeout-ms", timeout_ms])
    return time.monotonic() - began, code, err


class Relay(unittest.TestCase):
    def setUp(self):
        c.wait_led()
        self.range_id, self.leader = c.leader_of(KEY)
        self.proxy = proxies[self.leader]

    def tearDown(self):
        self.proxy.heal()
        for node in c.nodes:
            if not node.running():
                node.child = None
                node.start()

    def test_a_router_cut_off_from_a_leader_is_served(self):
        relays = metric(c.router_address, "rpc_relay_up_total")
        bench = c.bench("hot-issuer", "--duration-s", "8", "--clients", "4", "--in-flight", "8")
        time.sleep(1)
        self.proxy.cut(c.router.child.pid)
        took, code, err = put(KEY + "/other", 3000)
        self.assertEqual(code, 0, err)
        self.assertLess(took, 2.5)
        self.assertEqual(metric(c.router_address, "rpc_relay_up_total"), relays + 1)
        self.assertEqual(c.leader_of(KEY), (self.range_id, self.leader), "who leads sees nothing of it")
        between = next(i for i, node in enumerate(c.nodes)
                       if metric(f"127.0.0.1:{node.port}", "rpc_node_relays_open") > 0)
        self.assertNotEqual(between, self.leader)
        c.nodes[between].kill()  # the quorum stands; the relay goes through the third
        _, code, err = put(KEY + "/another", 5000)
        self.assertEqual(code, 0, err)
        c.nodes[between].start()
        self.proxy.heal()
        expect_clean(c.finish_bench(bench))
        wait_until("the direct way is used again", lambda: all(
            metric(f"127.0.0.1:{node.port}", "rpc_node_relays_open") == 0 for node in c.nodes), 20)
        self.assertEqual(put(KEY + "/last", 3000)[1], 0)

    def test_packets_that_vanish_are_found_out(self):
        relays = metric(c.router_address, "rpc_relay_up_total")
        self.assertEqual(put(KEY + "/before", 3000)[1], 0)
        self.proxy.cut(c.router.child.pid, silent=True)
        took, code, err = put(KEY + "/vanishing", 10000)
        self.assertEqual(code, 0, err)
        self.assertLess(took, 7)
        self.assertEqual(metric(c.router_address, "rpc_relay_up_total"), relays + 1)
        _, code, err = put(KEY + "/then", 1000)
        self.assertEqual(code, 0, err)


def main():
    global c, proxies
    # Who leads shall stay the same, also on a busy machine: elections are no matter of this test.
    c = Cluster(nodes=3, ranges=2, node_options=("--election-timeout-ms", 3000, "--heartbeat-ms", 300))
    proxies = []
    for node in c.nodes:
        proxies.append(Proxy(free_port(), node.port))
        node.arguments += ["--advertise", f"127.0.0.1:{proxies[-1].port}"]
    with c:
        result = unittest.main(verbosity=2, exit=False).result
        if not result.wasSuccessful():
            c.print_tails()
            return 1
        return 0


if __name__ == "__main__":
    cluster.need_binary()
    sys.exit(main())
