#!/usr/bin/python3
"""What ./dev does around the builds: it waits for the package manager, and selects tests by a filter."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = sys.argv.pop(1) if len(sys.argv) > 1 else None

LOCKED = ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (apt-get)\n"
          "E: Unable to acquire the dpkg frontend lock, is another process using it?")


class PackageManager(unittest.TestCase):
    """`need` against an apt-get that fails as often as it is told."""

    def need(self, failures, text, wait_s):
        with tempfile.TemporaryDirectory() as directory:
            def program(name, script):
                path = os.path.join(directory, name)
                with open(path, "w", encoding="utf-8") as file:
                    file.write("#!/bin/bash\n" + script)
                os.chmod(path, 0o755)

            calls = os.path.join(directory, "calls")
            program("dpkg-query", "exit 1\n")
            program("sudo", 'exec "$@"\n')
            program("apt-get", f"""echo "$1" >>{calls}
                if (($(grep -c . {calls}) <= {failures})); then echo '{text}' >&2; exit 100; fi\n""")
            done = subprocess.run(
                ["bash", "-c", f"source {ROOT}/dev; package_manager_wait_s={wait_s} package_manager_poll_s=1; "
                               "need no-such-package"],
                env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}, capture_output=True, text=True,
                check=False)
            with open(calls, encoding="utf-8") as file:
                return done.returncode, done.stderr, file.read().split()

    def test_waits_while_another_has_the_lock(self):
        code, err, calls = self.need(2, LOCKED, 120)
        self.assertEqual(code, 0, err)
        self.assertEqual(calls, ["update", "update", "update", "install"])
        self.assertIn("Waiting for the package manager", err)
        self.assertIn("held by process 4711", err)

    def test_gives_up_in_time_and_says_why(self):
        code, err, _ = self.need(99, LOCKED, 1)
        self.assertEqual(code, 1)
        self.assertIn("another process has its lock", err)

    def test_waits_for_nothing_else(self):
        code, err, calls = self.need(99, "E: Temporary failure resolving deb.debian.org", 120)
        self.assertEqual(code, 1)
        self.assertEqual(calls, ["update"])
        self.assertIn("is the network there?", err)


class Filter(unittest.TestCase):
    def test_only_criterions_programs_get_a_filter(self):
        """`--filter` is an argument that any other program refuses: those are in the suite `program`."""
        if not BUILD:
            self.skipTest("the build directory is not given")
        listed = json.loads(subprocess.run(["meson", "introspect", "--tests", BUILD], check=True,
                                           capture_output=True, text=True).stdout)
        self.assertGreater(len(listed), 10)
        for test in listed:
            with open(test["cmd"][0], "rb") as file:
                program = file.read()
            criterion = program.startswith(b"\x7fELF") and b"libcriterion" in program
            self.assertEqual(criterion, not any(s.endswith("program") for s in test["suite"]), test["name"])


if __name__ == "__main__":
    unittest.main()
