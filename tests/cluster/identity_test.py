#!/usr/bin/python3
"""Who is who: a second node with the same identity, a data directory in use or of another cluster,
a router and a placement of different clusters. Each is refused with the reason, and changes nothing."""

import shutil
import sys
import unittest

import cluster
from cluster import Cluster, Process, wait_until

c = None
other = None


class Identity(unittest.TestCase):
    def refuses(self, process, *words, code=1):
        got = process.launch().wait(20)
        log = process.log()
        self.assertEqual(got, code, log)
        last = log.strip().splitlines()[-1] if log.strip() else ""
        for word in words:
            self.assertIn(word, last, "the last line of the log says why")

    def tearDown(self):
        for process in [*c.processes(), *other.processes()]:
            self.assertTrue(process.running(), process.tail())

    def test_data_directory_in_use(self):
        twin = c.make_node(11, data_dir=c.path("node1"))
        self.refuses(twin, c.path("node1"), "in use")

    def test_placement_directory_in_use(self):
        port = cluster.free_port()
        twin = Process("placement2", c.directory, [
            "placement", "--data-dir", c.path("placement"), "--listen", f"127.0.0.1:{port}"], port)
        self.refuses(twin, c.path("placement"), "in use")

    def test_second_node_with_the_same_identity(self):
        """A copied data directory: same id and uuid, while the original is alive."""
        node = c.nodes[0]
        node.pause()  # so that the copy is of one moment
        try:
            shutil.copytree(c.path("node1"), c.path("copy"))
        finally:
            node.resume()
        twin = c.make_node(12, data_dir=c.path("copy"))
        self.refuses(twin, "is running at", "copy of this data directory")
        self.assertTrue(node.running())

    def test_data_directory_of_another_cluster(self):
        process = other.nodes[0]
        self.assertEqual(process.stop(), 0)
        stranger = c.make_node(13, data_dir=other.path("node1"))
        mine, theirs = c.status()["cluster_id"], other.status()["cluster_id"]
        self.refuses(stranger, mine, theirs)
        process.start()
        other.wait_led()

    def test_data_directory_of_another_role(self):
        confused = c.make_node(14, data_dir=c.path("placement-as-node"))
        c.placement.pause()  # so that the copy is of one moment
        shutil.copytree(c.path("placement"), c.path("placement-as-node"))
        c.placement.resume()
        self.refuses(confused, "not a node's")
        self.assertEqual(other.nodes[0].stop(), 0)
        shutil.copytree(other.path("node1"), c.path("node-as-placement"))
        port = cluster.free_port()
        confused = Process("placement3", c.directory, [
            "placement", "--data-dir", c.path("node-as-placement"), "--listen", f"127.0.0.1:{port}"], port)
        self.refuses(confused, c.path("node-as-placement"))
        other.nodes[0].start()
        other.wait_led()

    def test_a_node_keeps_its_id_over_restarts(self):
        before = c.node_id(1)
        c.nodes[1].kill()
        c.nodes[1].start()
        ids = {line.split("node=")[1].split()[0] for line in c.nodes[1].log().splitlines() if " ready " in line}
        self.assertEqual(ids, {str(before)})
        c.wait_led()

    def test_node_waits_for_a_placement_that_is_away(self):
        c.nodes[2].kill()
        c.placement.kill()
        c.nodes[2].launch()
        wait_until("the node says that it waits", lambda: "placement" in c.nodes[2].tail(3), 10)
        self.assertTrue(c.nodes[2].running())
        c.placement.start()
        c.nodes[2].wait_ready()
        c.wait_led()

    def test_signal_while_waiting_for_placement_ends_at_once(self):
        lonely = Process("lonely", c.directory, [
            "node", "--data-dir", c.path("lonely"), "--listen", "127.0.0.1:0",
            "--placement", f"127.0.0.1:{cluster.free_port()}"])
        lonely.launch()
        wait_until("it waits", lambda: "placement" in lonely.log(), 10)
        self.assertEqual(lonely.stop(5), 0, lonely.tail())


def main():
    global c, other
    with Cluster(nodes=3, ranges=4) as c_, Cluster(nodes=1, ranges=1) as other_:
        c, other = c_, other_
        result = unittest.main(verbosity=2, exit=False).result
        if not result.wasSuccessful():
            c.print_tails()
            return 1
        return 0


if __name__ == "__main__":
    cluster.need_binary()
    sys.exit(main())
