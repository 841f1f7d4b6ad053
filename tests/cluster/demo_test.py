#!/usr/bin/python3
"""The demo as its users run it: it succeeds and ends with one line of JSON; it leaves nothing behind,
whether it ends by itself, by Ctrl-C, or by SIGKILL."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

import cluster
from cluster import wait_until

KEYS = ["acked", "refused", "unknown", "lost", "doubled", "overbooked", "reservations_per_s", "p50_ms",
        "p99_ms", "longest_gap_ms", "hottest_gap_ms"]


def descendants_with(text):
    """Processes whose command line has the text, other than ours."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and int(pid) != os.getpid():
            found.append((int(pid), line))
    return found


class Demo(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.mkdtemp(prefix="flotilla-demo-test-")
        self.environment = {**cluster.environment(), "TMPDIR": self.tmp}

    def tearDown(self):
        self.assertEqual(descendants_with(self.tmp), [], "processes are left")
        self.assertEqual(os.listdir(self.tmp), [], "files are left")
        os.rmdir(self.tmp)

    def launch(self, *options):
        return subprocess.Popen([cluster.BIN, "demo", *options], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=self.environment, preexec_fn=cluster._die_with_parent)

    def launch_until_loaded(self):
        demo = self.launch("--seconds", "60", "--ranges", "4")
        for line in demo.stderr:
            if re.match(r"\s+1\.\d s", line):
                return demo
        self.fail("no row of the table came")

    def test_kill_leader(self):
        demo = self.launch("--seconds", "8", "--kill-leader")
        out, err = demo.communicate(timeout=90)
        self.assertEqual(demo.returncode, 0, out + err)
        figures = json.loads(out.splitlines()[-1])
        self.assertEqual(list(figures), KEYS)
        self.assertEqual([figures[k] for k in ("lost", "doubled", "overbooked")], [0, 0, 0])
        self.assertGreater(figures["acked"], 1000)
        self.assertIn("SIGKILL to node", err)
        self.assertIn("is started again", err)
        same = re.search(r"started again, has the same (\d+) rows itself", err)
        self.assertGreaterEqual(int(same.group(1)), figures["acked"])
        self.assertGreater(figures["hottest_gap_ms"], 20, "an election takes longer")
        self.assertLessEqual(figures["longest_gap_ms"], figures["hottest_gap_ms"])
        self.assertNotIn("\033", err, "no colours outside a terminal")
        print(out.strip())

    def test_one_node(self):
        demo = self.launch("--seconds", "2", "--nodes", "1", "--ranges", "2")
        out, err = demo.communicate(timeout=60)
        self.assertEqual(demo.returncode, 0, out + err)

    def test_interrupted(self):
        demo = self.launch_until_loaded()
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=30)
        self.assertEqual(demo.returncode, 1)

    def test_killed(self):
        demo = self.launch_until_loaded()
        demo.kill()
        demo.communicate(timeout=30)
        wait_until("the children are gone", lambda: not descendants_with(self.tmp), 10)
        cluster.shutil.rmtree(os.path.join(self.tmp, os.listdir(self.tmp)[0]))

    def test_a_node_that_dies_by_itself_is_a_failure(self):
        demo = self.launch_until_loaded()
        node = next(pid for pid, line in descendants_with(self.tmp) if " node " in line)
        os.kill(node, signal.SIGABRT)
        _, err = demo.communicate(timeout=30)
        self.assertEqual(demo.returncode, 1)
        self.assertIn("was killed by signal 6", err)


if __name__ == "__main__":
    cluster.need_binary()
    unittest.main(verbosity=2)
