#!/usr/bin/python3
"""Directories that were set back in time: put back from an older copy, or with a log that lost its
tail. They have forgotten what they promised, so they are refused, with the way out, and nothing
that was acknowledged is lost. And birth: ranges are born on nodes that live."""

import glob
import os
import shutil
import sys
import time
import unittest

import cluster
from cluster import Cluster, expect_clean, wait_until


def refusal(node):
    """The last line of the log of a node that has ended by itself."""
    assert node.wait(20) == 1, node.tail()
    return node.log().strip().splitlines()[-1]


def begin_load(c, name, seconds):
    """Acknowledged reservations, kept in a ledger; ended by itself."""
    return c.bench("hot-issuer", "--duration-s", seconds, "--clients", 4, "--in-flight", 16,
                   "--settle-s", 20, "--ledger", c.path("ledger"), name=name)


def load(c, name, seconds):
    return c.finish_bench(begin_load(c, name, seconds))


class Disk:
    """What a node's disk holds at an instant, to be put back later: a disk that forgets all behind
    it, the engine's own note of what was synced included."""

    def __init__(self, engine):
        self.engine = engine
        with open(os.path.join(engine, "SYNCED"), "rb") as file:
            self.synced = file.read()  # before the log is measured, so that the log has it all
        self.log = max(self.logs(), key=os.path.basename)
        self.bytes = os.path.getsize(self.log)

    def logs(self):
        return glob.glob(os.path.join(self.engine, "*.log"))

    def put_back(self):
        for log in self.logs():
            if os.path.basename(log) > os.path.basename(self.log):
                os.unlink(log)
        assert os.path.getsize(self.log) > self.bytes, "nothing was written behind it"
        os.truncate(self.log, self.bytes)
        with open(os.path.join(self.engine, "SYNCED"), "wb") as file:
            file.write(self.synced)

    @classmethod
    def remember_under_load(cls, engine, load_bytes):
        """When so much was written."""
        began = cls(engine)
        wait_until("the log grows", lambda: sum(map(os.path.getsize, began.logs())) > began.bytes + load_bytes)
        return cls(engine)


class SetBack(unittest.TestCase):
    def test_an_older_copy_is_refused_and_nothing_is_lost(self):
        """Nodes 1 and 3 acknowledge while 2 is away; 3 is put back from a copy, and 1 goes. What only
        1 has now must not be forgotten by 2 and 3 together."""
        with Cluster(nodes=3, ranges=2) as c:
            self.assertEqual(c.nodes[2].stop(), 0)
            shutil.copytree(c.path("node3"), c.path("copy"))
            c.nodes[2].start()
            c.nodes[1].kill()
            c.wait_led(except_node=c.node_id(1))
            expect_clean(load(c, "acknowledged", 2))
            c.nodes[2].kill()
            shutil.rmtree(c.path("node3"))
            shutil.copytree(c.path("copy"), c.path("node3"))
            c.nodes[0].kill()
            c.nodes[1].launch()
            c.nodes[1].wait_ready()
            c.nodes[2].launch()
            line = refusal(c.nodes[2])
            self.assertIn("start number", line)
            self.assertIn("move-replica", line)
            self.assertTrue(c.status()["nodes"][c.node_id(2) - 1]["set_back"])
            code, out, _ = cluster.run(["admin", "status", "--placement", c.placement_address])
            self.assertEqual(code, 0)
            self.assertIn("REFUSED", out)
            c.nodes[0].start()
            c.wait_led(except_node=c.node_id(2))
            code, out, err = cluster.run(["bench", "verify", "--router", c.router_address,
                                          "--ledger", c.path("ledger")])
            self.assertEqual(code, 0, out + err)

    def test_a_log_that_lost_its_tail_is_refused(self):
        """A disk that said it had what it lost: the engine ends before what heartbeats said was synced."""
        with Cluster(nodes=3, ranges=2, placement_options=("--node-heartbeat-ms", 100)) as c:
            bench = begin_load(c, "first", 2)
            disk = Disk.remember_under_load(c.path("node3/engine"), 200_000)
            expect_clean(c.finish_bench(bench))
            # Long enough for a heartbeat: what was written since the last one is not known yet.
            time.sleep(0.5)
            c.nodes[2].kill()
            disk.put_back()
            c.nodes[2].launch()
            line = refusal(c.nodes[2])
            self.assertIn("had synced", line)
            self.assertTrue(c.status()["nodes"][c.node_id(2) - 1]["set_back"])

    def test_a_log_that_ends_before_its_own_note_is_refused(self):
        """Only the log lost its tail: the engine misses it by itself, whatever placement knows."""
        with Cluster(nodes=3, ranges=2) as c:
            expect_clean(load(c, "noted", 1))
            c.nodes[2].kill()
            log = max(glob.glob(c.path("node3/engine/*.log")), key=os.path.getsize)
            os.truncate(log, os.path.getsize(log) * 3 // 4)
            c.nodes[2].launch()
            line = refusal(c.nodes[2])
            self.assertIn("were synced", line)
            self.assertIn("move-replica", line)

    def test_what_placement_cannot_know_the_leader_tells(self):
        """The same between two heartbeats: the node may register, and stops when its leader names
        entries that it had acknowledged."""
        with Cluster(nodes=3, ranges=2, placement_options=("--node-heartbeat-ms", 60000,
                                                           "--node-silence-ms", 200000)) as c:
            time.sleep(1)  # the heartbeats of the birth are over
            bench = begin_load(c, "unnoticed", 2)
            disk = Disk.remember_under_load(c.path("node3/engine"), 200_000)
            expect_clean(c.finish_bench(bench))
            c.nodes[2].kill()
            disk.put_back()
            c.nodes[2].launch()
            self.assertNotEqual(c.nodes[2].wait(20), 0)
            text = c.nodes[2].log()
            self.assertTrue("raft_log_lost" in text or "had synced" in text, c.nodes[2].tail())
            self.assertIn("move-replica", text.strip().splitlines()[-1])
            code, out, err = cluster.run(["bench", "verify", "--router", c.router_address,
                                          "--ledger", c.path("ledger")])
            self.assertEqual(code, 0, out + err)

    def test_ranges_are_born_on_nodes_that_live(self):
        """One node whose disk goes with its process, started until three have registered."""
        c = Cluster(nodes=3, ranges=4)
        try:
            c.placement.start()
            for i in range(3):
                flighty = c.make_node(11 + i)
                c.nodes.append(flighty)
                flighty.start()
                flighty.kill()
                shutil.rmtree(c.path(f"node{11 + i}"))
            status = c.status()
            self.assertEqual(status["registered_nodes"], 3)
            self.assertFalse(status["born"])
            del c.nodes[3:]
            for node in c.nodes:
                node.start()
            c.wait_led()
            for descriptor in c.status()["ranges"]:
                self.assertEqual(sorted(descriptor["nodes"]), [4, 5, 6])
        finally:
            c.close()


if __name__ == "__main__":
    cluster.need_binary()
    unittest.main(argv=sys.argv, verbosity=2)
