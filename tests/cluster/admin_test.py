#!/usr/bin/python3
"""What an operator asks: the status as text and as JSON, and a leader moved from node to node."""

import json
import sys
import time
import unittest

import cluster
from cluster import Cluster, run, wait_until

c = None


def admin(*arguments):
    return run(["admin", *arguments, "--placement", c.placement_address])


class Admin(unittest.TestCase):
    def leader(self, range_id):
        return next(r["leader_node"] for r in c.status()["ranges"] if r["id"] == range_id)

    def test_status_for_people_and_for_programs(self):
        code, out, err = admin("status")
        self.assertEqual(code, 0, err)
        for node in c.nodes:
            self.assertIn(f"127.0.0.1:{node.port}", out)
        code, out, err = admin("status", "--json")
        self.assertEqual(code, 0, err)
        status = json.loads(out)
        self.assertEqual((len(status["nodes"]), len(status["ranges"])), (3, 4))
        self.assertTrue(all(node["alive"] for node in status["nodes"]))
        self.assertIsInstance(status["timestamp_bound"], str, "above 2^53, where doubles are not exact")
        self.assertGreater(int(status["timestamp_bound"]), 1 << 53)
        self.assertIsInstance(status["nodes"][0]["id"], int)
        for node in status["nodes"]:
            self.assertGreater(node["disk_bytes"], node["disk_free_bytes"])
            self.assertGreater(node["disk_free_bytes"], 0)
            self.assertGreaterEqual(node["data_bytes"], 0)

    def test_status_says_how_far_behind_a_node_is(self):
        def behind(node_id):
            return next(n["behind_entries"] for n in c.status()["nodes"] if n["id"] == node_id)

        wait_until("all have reported", lambda: all(behind(i) == 0 for i in (1, 2, 3)), 10)
        index = c.index_of(3)
        c.nodes[index].kill()
        killed = time.monotonic()
        c.wait_led(except_node=3)
        c.finish_bench(c.bench("put", "--count", "400", "--clients", "2"))
        # What a node that is gone said last is nothing that an operator may rely on.
        time.sleep(max(0.0, killed + 3 - time.monotonic()))
        node = next(n for n in c.status()["nodes"] if n["id"] == 3)
        self.assertEqual((node["alive"], node["down"]), (False, True))
        self.assertEqual([node[name] for name in ("behind_entries", "data_bytes", "disk_free_bytes")], [None] * 3)
        self.assertRegex(admin("status")[1],
                         r"(?m)^node 3 .* DOWN, .* not known how far behind, sizes not known")
        c.nodes[index].start()
        wait_until("node 3 has caught up", lambda: behind(3) == 0, 20)

    def test_status_of_a_frozen_node(self):
        """Who asks waits a second at most, and hears who does not answer before placement can know."""
        frozen = c.nodes[c.index_of(2)]
        frozen.pause()
        try:
            began = time.monotonic()
            node = next(n for n in c.status()["nodes"] if n["id"] == 2)
            self.assertEqual((node["answers"], node["healthy"], node["state"]), (False, False, None))
            self.assertLess(time.monotonic() - began, 4)
            out = admin("status")[1]
            self.assertRegex(out, r"(?m)^node 2 at .* DOES NOT SERVE: ")
            self.assertIn("serve: 2 of 3 nodes", out)
        finally:
            frozen.resume()
        wait_until("all are healthy", lambda: all(n["healthy"] for n in c.status()["nodes"]), 20)
        self.assertIn("serve: 3 of 3 nodes", admin("status")[1])

    def test_status_of_nodes_while_placement_is_away(self):
        def ask(*nodes):
            addresses = ",".join(f"127.0.0.1:{node.port}" for node in nodes)
            code, out, err = run(["admin", "status", "--json", "--node", addresses])
            return code, json.loads(out)["nodes"], err

        def peer(node, node_id):
            return next(p for p in node["peers"] if p["id"] == node_id)

        one, two = c.nodes[c.index_of(1)], c.nodes[c.index_of(2)]
        c.placement.kill()
        try:
            wait_until("heartbeats find nobody", lambda: ask(one)[1][0]["placement_answered_ms_ago"] > 1500, 20)
            code, nodes, err = ask(*c.nodes)
            self.assertEqual(code, 0, err)
            for node in nodes:
                self.assertEqual((node["state"], node["serves_clients"], node["answers"]), ("serving", True, True))
                self.assertEqual(sorted(r["range"] for r in node["replicas"]), [1, 2, 3, 4])
                self.assertGreater(node["disk_bytes"], node["disk_free_bytes"])
                for r in node["replicas"]:
                    self.assertEqual(r["leads"], r["leader_node"] == node["id"])
                    self.assertEqual(r["followers_behind"] is None, not r["leads"])
            self.assertEqual(sum(r["leads"] for node in nodes for r in node["replicas"]), 4)
            _, text, _ = run(["admin", "status", "--node", f"127.0.0.1:{one.port}"])
            self.assertRegex(text, r"(?m)^  placement answered [0-9.]+ s ago$")
            self.assertRegex(text, r"(?m)^  node 2 at \S+: heard$")

            two.kill()
            wait_until("it is missed", lambda: peer(ask(one)[1][0], 2)["heard"] is False, 10)
            code, nodes, _ = ask(one, two)
            self.assertEqual((code, [n["answers"] for n in nodes]), (1, [True, False]))
            self.assertTrue(nodes[1]["problem"])
            _, _, err = admin("status", "--timeout-ms", "500")
            self.assertIn("--node", err)
        finally:
            c.placement.child = None
            c.placement.start()
        two.start()
        c.wait_led()

    def test_unreachable_node_is_not_healthy(self):
        """It hears placement, and nobody can reach it: its heartbeats say nothing about that."""
        address = f"127.0.0.1:{cluster.free_port()}"
        lost = c.make_node(4, ["--advertise", address])
        lost.start()
        node = wait_until("placement hears it",
                          lambda: next((n for n in c.status()["nodes"] if n["address"] == address), None))
        self.assertEqual((node["alive"], node["answers"], node["healthy"]), (True, False, False))
        self.assertRegex(admin("status")[1], rf"(?m)^node 4 at {address} DOES NOT SERVE: ")
        lost.kill()

    def test_metrics_of_every_process(self):
        counts = {c.placement_address: ("placement_heartbeats_total", "storage_syncs_total"),
                  f"127.0.0.1:{c.nodes[0].port}": ("range_turns_total", "storage_syncs_total"),
                  c.router_address: ("rpc_loop_turns_total",)}
        for address, names in counts.items():
            code, out, err = run(["admin", "metrics", "--address", address])
            self.assertEqual(code, 0, err)
            for name in names:
                self.assertRegex(out, rf"(?m)^{name} [1-9]", address)

    def test_metrics_of_nobody(self):
        address = f"127.0.0.1:{cluster.free_port()}"
        code, _, err = run(["admin", "metrics", "--address", address, "--timeout-ms", 1000])
        self.assertEqual(code, 1)
        self.assertIn(address, err)

    def test_transfer_moves_a_leader_to_every_node(self):
        for to_node in (1, 2, 3, 1):
            code, _, err = admin("transfer", "--range", 2, "--to-node", to_node)
            self.assertEqual(code, 0, err)
            wait_until("placement knows", lambda to=to_node: self.leader(2) == to, 10)

    def test_transfer_ends_with_its_outcome(self):
        """Not "was asked to lead": the node leads when the command ends, or it says who does and why."""
        for to_node in (1, 2, 3):
            _, out, _ = admin("transfer", "--range", 3, "--to-node", to_node)
            self.assertIn(f"node {to_node} leads", out)
            code, out, _ = admin("replicas", "--range", 3, "--json")
            self.assertEqual((code, json.loads(out)["leader_node"]), (0, to_node))
        index = c.index_of(1)
        c.nodes[index].kill()
        try:
            code, _, err = admin("transfer", "--range", 3, "--to-node", 1, "--timeout-ms", 2000)
            self.assertEqual(code, 1)
            self.assertRegex(err, "node [23] still leads: node 1 (does not answer|did not take over)")
        finally:
            c.nodes[index].start()

    def test_transfer_that_cannot_be(self):
        for range_id, node in ((99, 1), (2, 99)):
            code, _, err = admin("transfer", "--range", range_id, "--to-node", node, "--timeout-ms", 2000)
            self.assertEqual(code, 1)
            self.assertIn("99", err)
            self.assertEqual(len(err.strip().splitlines()), 1, err)

    def test_transfer_of_no_range(self):
        code, _, err = admin("transfer", "--range", 99, "--to-node", 1, "--timeout-ms", 10000)
        self.assertEqual(code, 1)
        self.assertIn("range 99 does not exist", err)
        self.assertIn("1 to 4", err)

    def test_status_without_placement(self):
        address = f"127.0.0.1:{cluster.free_port()}"
        code, _, err = run(["admin", "status", "--placement", address, "--timeout-ms", 1000])
        self.assertEqual(code, 1)
        self.assertIn(address, err)


def main():
    global c
    with Cluster(nodes=3, ranges=4) as c_:
        c = c_
        result = unittest.main(verbosity=2, exit=False).result
        if not result.wasSuccessful():
            c.print_tails()
            return 1
        return 0


if __name__ == "__main__":
    cluster.need_binary()
    sys.exit(main())
