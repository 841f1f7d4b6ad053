#!/usr/bin/python3
"""A follower that comes back behind the log catches up under steady writes, although its snapshot takes longer than the log
is kept otherwise: one snapshot is enough, and who is not caught up is shown meanwhile."""

import json
import sys
import unittest

import cluster
from cluster import Cluster, run, wait_until

# The snapshot of 16 MB takes some 16 s; writes make 0.6 MB/s of log, so 2 MB are full after four.
NODE_OPTIONS = ("--snapshot-bytes-per-s", 1 << 20, "--log-bytes-kept", 2 << 20, "--log-entries-kept", 100)


def replica_on(c, node_id):
    code, out, _ = run(["admin", "replicas", "--range", 1, "--json", "--placement", c.placement_address])
    if code != 0:
        return None
    replicas = json.loads(out.strip().splitlines()[-1])["replicas"]
    return next((r for r in replicas if r["node"] == node_id), None)


def metric(node, name):
    _, out, _ = run(["admin", "metrics", "--address", f"127.0.0.1:{node.port}"])
    return sum(float(line.split()[-1]) for line in out.splitlines() if line.startswith(name + " "))


class CatchUp(unittest.TestCase):
    def fill(self, c):
        c.finish_bench(c.bench("put", "--value-bytes", 20000, "--keys", 400, "--distribution", "sequential",
                               "--count", 400, "--clients", 1, "--in-flight", 1, "--no-verify"))

    def test_under_steady_writes_one_snapshot_is_enough(self):
        with Cluster(nodes=3, split_keys="", node_options=NODE_OPTIONS) as c:
            _, leader = c.leader_of("kv/")
            straggler = c.nodes[(leader + 1) % 3]
            node_id = c.node_id((leader + 1) % 3)
            self.fill(c)
            straggler.kill()
            self.fill(c)
            straggler.start()
            load = c.bench("put", "--value-bytes", 20000, "--keys", 400, "--rate", 30, "--clients", 1, "--duration-s", 300,
                           "--no-verify", name="writes")
            try:
                wait_until("the replica is shown as one that gets a snapshot",
                           lambda: (replica_on(c, node_id) or {}).get("gets_snapshot"), 20, 0.1)
                self.assertGreater(metric(c.nodes[leader], "range_snapshot_followers"), 0)

                def caught_up():
                    replica = replica_on(c, node_id)
                    return replica and not replica["gets_snapshot"] and replica["behind_entries"] < 20
                wait_until("it has caught up under writes", caught_up, 90, 0.2)
                self.assertTrue(load.running())
            finally:
                load.kill()
            self.assertEqual(metric(straggler, "range_snapshots_installed_total"), 1)
            self.assertEqual(metric(c.nodes[leader], "range_snapshots_outrun_total"), 0)


if __name__ == "__main__":
    cluster.need_binary()
    unittest.main()
