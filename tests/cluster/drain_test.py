#!/usr/bin/python3
"""Nodes that are told to stop hand their leaders over: to one that stays, or, when all stop at once,
not for longer than it takes to see that nobody stays."""

import re
import signal
import sys
import time
import unittest

import cluster
from cluster import Cluster, wait_until

DRAIN_MS = 20000


class Drain(unittest.TestCase):
    def setUp(self):
        for node in c.nodes:
            if not node.running():
                node.child = None
                node.start()
        c.wait_led()

    def stop_together(self, nodes):
        """Returns how long it took."""
        began = time.monotonic()
        for node in nodes:
            node.child.send_signal(signal.SIGTERM)
        for node in nodes:
            self.assertEqual(node.wait(DRAIN_MS / 1000 + 10), 0, node.tail())
        return time.monotonic() - began

    def test_all_at_once_end_early(self):
        took = self.stop_together(c.nodes)
        self.assertLess(took, DRAIN_MS / 1000 / 2)
        for node in c.nodes:
            self.assertNotIn("drain_incomplete", node.log(), node.name)

    def test_two_at_once_hand_over_to_the_third(self):
        """The two know nothing of each other's leaving; the third ends up with all they led."""
        by_id = {c.node_id(i): c.nodes[i] for i in range(3)}
        offset = {i: len(node.log()) for i, node in by_id.items()}
        c.wait_led()
        self.stop_together([by_id[1], by_id[2]])
        for i in (1, 2):
            end = by_id[i].log()[offset[i]:]
            self.assertRegex(end, r"drained node=\d leaders_kept=0")
        gained = set(re.findall(r"range_leader node=3 range=(\d+) ", by_id[3].log()))
        self.assertEqual(len(gained), RANGES)


RANGES = 8


def main():
    global c
    with Cluster(nodes=3, ranges=RANGES, node_options=["--drain-ms", DRAIN_MS]) as c:
        result = unittest.main(verbosity=2, exit=False).result
        if not result.wasSuccessful():
            c.print_tails()
            return 1
        return 0


if __name__ == "__main__":
    cluster.need_binary()
    sys.exit(main())
