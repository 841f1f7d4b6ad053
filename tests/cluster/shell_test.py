#!/usr/bin/python3
"""Keys from the shell (get, put, delete, scan, write) and dev-cluster: what is printed, what the exit
codes say, and that a write counts once whatever becomes of its answers."""

import json
import os
import signal
import subprocess
import tempfile
import unittest

import cluster
from cluster import Process, run, wait_until

OK, FAILED, USAGE, UNAVAILABLE, UNKNOWN = range(5)


class DevCluster:
    def __init__(self, *options, directory=None, port=None):
        self.directory = directory or tempfile.mkdtemp(prefix="flotilla-shell-test-")
        self.port = port or cluster.free_port()
        self.router = f"127.0.0.1:{self.port}"
        self.process = Process("dev", self.directory, ["dev-cluster", "--port", self.port, *options], self.port)

    def __enter__(self):
        self.process.start(60)
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print(self.process.tail())
        if self.process.running():
            self.process.stop(number=signal.SIGINT)
        cluster.shutil.rmtree(self.directory, ignore_errors=True)

    def child(self, role):
        """The id of the process of that role."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if parent == self.process.child.pid and words[1] == role.encode():
                return int(pid)
        raise AssertionError(f"dev-cluster has no {role}")

    def run(self, *arguments, stdin=None):
        done = subprocess.run([cluster.BIN, *arguments, "--router", self.router], input=stdin or b"",
                              capture_output=True, env=cluster.environment(), timeout=60, check=False,
                              preexec_fn=cluster._die_with_parent)
        return done.returncode, done.stdout, done.stderr.decode()


class Shell(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = cls.enterClassContext(DevCluster())

    def good(self, *arguments, stdin=None):
        code, out, err = self.cluster.run(*arguments, stdin=stdin)
        self.assertEqual(code, OK, err)
        return out.decode()

    def fails(self, wanted, *arguments):
        code, out, err = self.cluster.run(*arguments)
        self.assertEqual(code, wanted, f"{out}{err}")
        return err

    def test_one_key(self):
        self.assertRegex(self.good("put", "one/key", "a value"), r"^done: version \d+, request id [0-9a-f]{32}\n$")
        self.assertEqual(self.good("get", "one/key"), "a value\n")
        self.assertEqual(self.good("get", "--hex", "6f6e652f6b6579"), "612076616c7565\n")
        self.good("delete", "one/key")
        self.assertIn("no key 'one/key'", self.fails(FAILED, "get", "one/key"))
        self.good("delete", "one/key")

    def test_values_of_any_bytes_come_from_standard_input(self):
        value = bytes(range(256)) * 4
        self.good("put", "bytes/key", "-", stdin=value)
        code, out, _ = self.cluster.run("get", "bytes/key")
        self.assertEqual((code, out), (OK, value + b"\n"))
        self.assertEqual(json.loads(self.good("get", "bytes/key", "--json"))["value_hex"], value.hex())
        self.good("put", "--hex", b"bytes/hex".hex(), "-", stdin=value.hex().encode() + b"\n")
        self.assertEqual(self.good("get", "--hex", b"bytes/hex".hex()), value.hex() + "\n")
        code, _, err = self.cluster.run("put", "bytes/large", "-", stdin=b"x" * (1 << 20) + b"x")
        self.assertEqual(code, USAGE)
        self.assertIn("1048576", err)

    def test_scan(self):
        for i in range(1200):  # more than a page
            if i % 400 == 0:
                parts = [x for j in range(i, i + 400) for x in ("--put", f"scan/{j:04} {j}")]
                self.good("write", *parts)
        rows = self.good("scan", "--prefix", "scan/").splitlines()
        self.assertEqual(rows, [f"scan/{i:04}\t{i}" for i in range(1200)])
        self.assertEqual(self.good("scan", "scan/0003", "scan/0005").split(), ["scan/0003", "3", "scan/0004", "4"])
        self.assertEqual(self.good("scan", "--prefix", "scan/", "--reverse", "--limit", "1100",
                                   "--keys-only").split(), [f"scan/{i:04}" for i in range(1199, 99, -1)])
        row = json.loads(self.good("scan", "scan/0007", "--limit", "1", "--json"))
        self.assertEqual((row["key"], row["value"]), ("scan/0007", "7"))
        self.assertIsInstance(row["version"], str, "above 2^53")
        self.assertGreater(int(row["version"]), 1 << 53)
        self.assertEqual(self.good("scan", "--prefix", "scan/00", "--stale", "--limit", "1"), "scan/0000\t0\n")
        self.assertIn("either", self.fails(USAGE, "scan", "a", "--prefix", "b"))

    def test_an_answer_that_cannot_be_written_is_a_failure(self):
        """A full disk behind the redirection must not look like success; a reader that leaves ends a scan."""
        for i in range(3):
            self.good("write", *[x for j in range(400) for x in ("--put", f"full/{i}/{j:04} {'v' * 100}")])
        for command in (["get", "full/0/0000"], ["scan", "--prefix", "full/"], ["put", "full/x", "1"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([cluster.BIN, *command, "--router", self.cluster.router], stdout=full,
                                      stderr=subprocess.PIPE, env=cluster.environment(), timeout=60, check=False)
            self.assertEqual(done.returncode, FAILED, command)
            self.assertIn(b"No space left", done.stderr)
        with subprocess.Popen([cluster.BIN, "scan", "--router", self.cluster.router], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=cluster.environment()) as scan:
            scan.stdout.close()
            self.assertEqual(scan.wait(30), FAILED)
            self.assertEqual(scan.stderr.read(), b"", "who left knows it")

    def test_reservations_within_a_limit(self):
        def reserve(number, *options):
            return self.cluster.run("write", "--add", "write/exposure +250000 min 0 max 500000",
                                    "--insert", f"write/reservation/{number} 250000", *options)
        self.assertTrue(reserve(1)[1].startswith(b"write/exposure\t250000\ndone: version "))
        self.assertIn("write/reservation/1: the key to insert exists", reserve(1)[2])
        self.assertEqual(reserve(2, "--request-id", "two")[0], OK)
        self.assertIn(b"done by an earlier attempt", reserve(2, "--request-id", "two")[1])
        code, out, err = reserve(3)
        self.assertEqual((code, out), (FAILED, b""))
        self.assertIn("nothing was changed", err)
        self.assertIn("it holds 500000", err)
        answer = json.loads(reserve(3, "--json")[1])
        self.assertEqual([answer[k] for k in ("outcome", "refusal", "index", "number")],
                         ["refused", "bound", 0, 500000])
        err = self.fails(FAILED, "write", "--insert", "write/reservation/2 1", "--request-id", "two")
        self.assertIn("request id", err)
        self.assertIn("different", err)
        self.assertEqual(len(self.good("scan", "--prefix", "write/reservation/").splitlines()), 2)

    def test_guards(self):
        version = json.loads(self.good("put", "guard/page", "v1", "--json"))["version"]
        self.good("write", "--guard", f"version guard/page {version}", "--guard", "absent guard/lock",
                  "--put", "guard/lock me", "--put", "guard/page -", stdin=b"v2")
        self.assertEqual(self.good("get", "guard/page"), "v2\n")
        err = self.fails(FAILED, "write", "--guard", f"unchanged guard/ guard0 {version}", "--delete", "guard/lock")
        self.assertIn("a guard does not hold", err)
        self.good("write", "--guard", "equals guard/lock me", "--delete", "guard/lock")

    def test_called_wrongly(self):
        self.assertIn("KEY", self.fails(USAGE, "get"))
        self.assertIn("KEY VALUE", self.fails(USAGE, "put", "k"))
        self.assertIn("--jsn", self.fails(USAGE, "put", "k", "v", "--jsn"))
        self.assertIn("-json", self.fails(USAGE, "put", "k", "-json"))
        self.assertIn("hexadecimal", self.fails(USAGE, "get", "--hex", "xyz"))
        self.assertIn("1 to 10000", self.fails(USAGE, "write"))
        self.assertIn("4096", self.fails(USAGE, "put", "k" * 4097, "v"))
        self.assertIn("64", self.fails(USAGE, "put", "k", "v", "--request-id", "i" * 65))

    def test_a_refused_connection_fails_at_once_with_the_address(self):
        for command in (["get", "k"], ["put", "k", "v"], ["scan"], ["bench", "put", "--duration-s", "1"]):
            begin = cluster.time.monotonic()
            code, _, err = run([*command, "--router", "127.0.0.1:1"])
            self.assertEqual(code, FAILED if command[0] == "bench" else UNAVAILABLE, err)
            self.assertIn("127.0.0.1:1", err)
            self.assertIn("refused", err)
            self.assertLess(cluster.time.monotonic() - begin, 3)


class Undecided(unittest.TestCase):
    """The node is frozen while it has a write: sent again with the same id, it counts once."""

    def test_a_write_is_sent_again_until_it_is_decided(self):
        with DevCluster() as dev:
            node = dev.child("node")
            dev.run("put", "n", "0")
            os.kill(node, signal.SIGSTOP)
            write = subprocess.Popen([cluster.BIN, "write", "--add", "n +1", "--router", dev.router,
                                      "--timeout-ms", "16000"], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True, env=cluster.environment(), preexec_fn=cluster._die_with_parent)
            self.assertIn("asking again", write.stderr.readline())
            os.kill(node, signal.SIGCONT)
            out, err = write.communicate(timeout=60)
            self.assertEqual(write.returncode, OK, err)
            self.assertIn("n\t1\n", out)
            self.assertEqual(dev.run("get", "n")[1], b"1\n")

    def test_what_stays_unknown_can_be_settled(self):
        with DevCluster() as dev:
            node = dev.child("node")
            dev.run("put", "n", "0")
            os.kill(node, signal.SIGSTOP)
            code, out, err = dev.run("write", "--add", "n +1", "--request-id", "mine", "--timeout-ms", "600")
            self.assertEqual((code, out), (UNKNOWN, b""), err)
            self.assertIn("--request-id mine", err)
            write = subprocess.Popen([cluster.BIN, "put", "m", "1", "--router", dev.router],
                                     stderr=subprocess.PIPE, text=True, env=cluster.environment(),
                                     preexec_fn=cluster._die_with_parent)
            self.assertIn("asking again", write.stderr.readline())
            write.send_signal(signal.SIGINT)
            self.assertEqual(write.wait(10), UNKNOWN, "interrupted, and it may have been done")
            with write.stderr:
                self.assertRegex(write.stderr.read(), "--request-id [0-9a-f]{32}")
            os.kill(node, signal.SIGCONT)
            code, out, err = dev.run("write", "--add", "n +1", "--request-id", "mine")
            self.assertEqual(code, OK, err)
            self.assertEqual(dev.run("get", "n")[1], b"1\n")


class DevClusterItself(unittest.TestCase):
    def test_data_stays_where_it_is_asked_to(self):
        with tempfile.TemporaryDirectory(prefix="flotilla-dev-test-") as directory:
            data = os.path.join(directory, "data")
            with DevCluster("--data-dir", data, "--nodes", "3") as dev:
                self.assertIn("3 nodes", dev.process.log())
                dev.run("put", "k", "v")
                self.assertEqual(dev.process.stop(number=signal.SIGINT), OK)
            code, _, err = run(["dev-cluster", "--data-dir", data, "--nodes", 1, "--port", cluster.free_port()])
            self.assertEqual(code, USAGE)
            self.assertIn("3 nodes", err)
            with DevCluster("--data-dir", data) as dev:
                self.assertIn("3 nodes", dev.process.log())
                self.assertEqual(dev.run("get", "k")[1], b"v\n")
            foreign = os.path.join(directory, "foreign")
            os.makedirs(os.path.join(foreign, "x"))
            code, _, err = run(["dev-cluster", "--data-dir", foreign, "--port", cluster.free_port()])
            self.assertEqual(code, FAILED)
            self.assertIn("not empty", err)

    def test_a_taken_port_is_named(self):
        with DevCluster() as dev:
            code, _, err = run(["dev-cluster", "--port", dev.port])
            self.assertEqual(code, FAILED)
            self.assertIn(f"port {dev.port}", err)
            self.assertIn("--port", err)

    def test_a_process_that_dies_ends_it_with_the_reason(self):
        with DevCluster() as dev:
            os.kill(dev.child("node"), signal.SIGABRT)
            wait_until("dev-cluster ends", lambda: not dev.process.running())
            self.assertEqual(dev.process.wait(), FAILED)
            self.assertIn("node 1 was killed by signal 6", dev.process.log())


if __name__ == "__main__":
    cluster.need_binary()
    unittest.main(verbosity=2)
