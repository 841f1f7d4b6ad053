#!/usr/bin/python3
"""The README's five minutes, as they stand there: each command is run and must succeed. Only the
ports are others, by the environment, so that a cluster of the machine's owner is not in the way."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

import cluster
from cluster import wait_until


def blocks():
    """The commands of the section, a list of shell texts."""
    with open(os.path.join(cluster.ROOT, "README.md"), encoding="utf-8") as file:
        section = file.read().split("\n## Five minutes\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


class Tour(unittest.TestCase):
    def test_every_command_of_the_five_minutes(self):
        texts = blocks()
        self.assertIn("flotilla dev-cluster\n", texts[0])
        with tempfile.TemporaryDirectory(prefix="flotilla-tour-test-") as directory:
            os.symlink(cluster.BIN, os.path.join(directory, "flotilla"))
            port = cluster.free_port()
            environment = {
                **cluster.environment(), "PATH": f"{directory}:{os.environ['PATH']}", "TMPDIR": directory,
                "FLOTILLA_PORT": str(port), "FLOTILLA_ROUTER": f"127.0.0.1:{port}",
                "FLOTILLA_PLACEMENT": f"127.0.0.1:{port + 1}"}
            # `export PATH` in the texts would find the release build, which is another binary.
            texts = [re.sub(r"^export PATH=.*\n", "", text) for text in texts]
            first = cluster.Process("dev-cluster", directory, ["dev-cluster"])
            with open(first.log_path, "ab") as log:
                first.child = subprocess.Popen(["bash", "-c", "exec " + texts[0]], stdin=subprocess.DEVNULL,
                                               stdout=log, stderr=log, env=environment, cwd=cluster.ROOT,
                                               preexec_fn=cluster._die_with_parent)
            try:
                wait_until("the cluster says that it is ready", lambda: "Ctrl-C ends it" in first.log())
                outputs = [self.run_block(text, environment) for text in texts[1:]]
                self.assertEqual(first.stop(number=cluster.signal.SIGINT), 0, first.tail())
            finally:
                if first.running():
                    print(first.tail())
                    first.kill()
            self.assertEqual([n for n in os.listdir(directory) if n.startswith("flotilla-dev")], [], "data is left")
        self.assertIn("\nhello, world\n", outputs[0])
        self.assertIn("done by an earlier attempt", outputs[1])
        self.assertIn("issuer/MUNI-77/exposure\t250000\n", outputs[1])
        self.assertIn('"lost":0,"doubled":0,"overbooked":0', outputs[2])

    def run_block(self, text, environment):
        done = subprocess.run(["bash", "-e", "-c", text], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env=environment, cwd=cluster.ROOT, timeout=120, check=False,
                              preexec_fn=cluster._die_with_parent)
        self.assertEqual(done.returncode, 0, f"{text}\n{done.stdout}{done.stderr}")
        return done.stdout


if __name__ == "__main__":
    cluster.need_binary()
    sys.exit(unittest.main(verbosity=2))
