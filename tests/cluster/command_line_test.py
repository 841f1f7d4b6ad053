#!/usr/bin/python3
"""The binary called wrongly, and asked for help: every answer names the thing and the way out."""

import os
import sys
import tempfile
import unittest

import cluster
from cluster import run

COMMANDS = ["dev-cluster", "get", "put", "delete", "scan", "write", "placement", "node", "router", "demo",
            "admin metrics", "admin status",
            "admin transfer", "admin replicas", "admin add-replica", "admin remove-replica", "admin move-replica",
            "bench hot-issuer", "bench put", "bench get", "bench mixed", "bench verify",
            "bench split-keys"]


class CommandLine(unittest.TestCase):
    def complains(self, arguments, *words, code=2):
        got, out, err = run(arguments)
        self.assertEqual(got, code, f"{arguments}: {out}{err}")
        for word in words:
            self.assertIn(word, err)

    def test_every_command_has_help_with_examples(self):
        for command in COMMANDS:
            code, out, _ = run(command.split() + ["--help"])
            self.assertEqual(code, 0, command)
            self.assertIn("flotilla " + command, out)
            self.assertGreater(len(out.splitlines()), 8, command)

    def test_help_lists_the_commands(self):
        code, out, _ = run(["help"])
        self.assertEqual(code, 0)
        for command in COMMANDS + ["version"]:
            self.assertRegex(out, rf"(?m)^  {command} ")
            self.assertEqual(run(["help", *command.split()])[0], 0, command)
        self.assertEqual(run(["help", "node"])[0], 0)
        self.assertEqual(run(["version"])[0], 0)

    def test_scheduling_policy_is_an_option(self):
        """Off unless asked for: beside other programs it collapses."""
        for options, policy in (([], os.SCHED_OTHER), (["--batch-scheduling"], os.SCHED_BATCH)):
            with tempfile.TemporaryDirectory() as directory:
                port = cluster.free_port()
                process = cluster.Process("placement", directory, [
                    "placement", "--data-dir", directory + "/p", "--listen", f"127.0.0.1:{port}", *options], port)
                process.start()
                try:
                    self.assertEqual(os.sched_getscheduler(process.child.pid), policy, options)
                finally:
                    process.stop()

    def test_unknown_command(self):
        self.complains(["nod"], "nod", "flotilla help")
        self.complains([], "flotilla")
        self.complains(["bench", "shred"], "shred")
        self.complains(["admin", "shred"], "shred")

    def test_unknown_variables_are_named(self):
        """Whoever sets one expects an effect; one of another command is no mistake."""
        for name, code, word in (("FLOTILLA_DATA_DRI", 2, "FLOTILLA_DATA_DIR"), ("FLOTILLA_ZEBRA", 2, "unset"),
                                 ("FLOTILLA_SNAPSHOT_BYTES_PER_S", 0, "")):
            done = cluster.subprocess.run([cluster.BIN, "bench", "split-keys"], capture_output=True, text=True,
                                          env={**cluster.environment(), name: "1048576"}, check=False)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(name if code else "", done.stderr)
            self.assertIn(word, done.stderr)

    def test_unknown_option_names_a_near_one(self):
        self.complains(["node", "--data-dri", "x"], "--data-dri", "data-dir")

    def test_missing_required_option(self):
        self.complains(["node"], "--data-dir", "FLOTILLA_DATA_DIR")

    def test_values_out_of_bounds(self):
        self.complains(["node", "--data-dir", "x", "--workers", "0"], "workers", "1 to")
        self.complains(["node", "--data-dir", "x", "--workers", "many"], "workers", "many")
        self.complains(["node", "--data-dir", "x", "--election-timeout-ms", "60"],
                       "--election-timeout-ms", "--heartbeat-ms")
        self.complains(["node", "--data-dir", "x", "--log-level", "loud"], "loud", "debug")
        self.complains(["bench", "put", "--clients", "4000", "--in-flight", "4000"], "--in-flight")
        self.complains(["bench", "put", "--duration-s", "0"], "--count")
        self.complains(["bench", "put", "--distribution", "odd"], "odd", "zipf")
        self.complains(["bench", "hot-issuer", "--amount-min", "9", "--amount-max", "8"], "--amount-min")
        self.complains(["bench", "split-keys", "--ranges", "9", "--issuers", "8"], "fewer")

    def test_options_that_contradict_each_other(self):
        self.complains(["placement", "--data-dir", "/nonexistent/x", "--split-keys", "m", "--initial-ranges", "4"],
                       "--split-keys", "--initial-ranges")

    def test_a_data_directory_around_others(self):
        with tempfile.TemporaryDirectory() as directory:
            os.makedirs(directory + "/node1/engine")
            with open(directory + "/node1/engine/CURRENT", "w", encoding="ascii"):
                pass
            for role in ("node", "placement"):
                self.complains([role, "--data-dir", directory], directory + "/node1", "of its own")
                self.complains([role, "--data-dir", directory + "/node1/x"], directory + "/node1", "of its own")

    def test_unreadable_addresses(self):
        with tempfile.TemporaryDirectory() as directory:
            self.complains(["node", "--data-dir", directory, "--listen", "nonsense"], "nonsense")
            self.complains(["router", "--listen", "nonsense"], "nonsense")
            self.complains(["router", "--listen", "127.0.0.1:0", "--placement", "nowhere"], "nowhere")
            # Ports have 16 bits: cut to them this would be another port.
            self.complains(["node", "--data-dir", directory, "--listen", "127.0.0.1:99999"], "99999", "65535")
            self.complains(["placement", "--data-dir", directory, "--listen", "127.0.0.1:65536"], "65536", "65535")
            self.complains(["node", "--data-dir", directory, "--advertise", "h:0"], "h:0", "65535")
            self.complains(["router", "--placement", "h:1,h:70000"], "h:70000", "65535")
            self.complains(["admin", "metrics", "--address", "h:70000"], "h:70000", "65535")

    def test_a_wildcard_cannot_be_advertised(self):
        for listen in ("0.0.0.0:7101", "[::]:7101", "[0:0::0]:0"):
            self.complains(["node", "--data-dir", "/nonexistent/x", "--listen", listen], listen, "--advertise")
        self.complains(["node", "--data-dir", "/nonexistent/x", "--advertise", "0.0.0.0:7101"], "--advertise 0.0.0.0")

    def test_port_taken(self):
        port = cluster.free_port()
        with cluster.contextlib.closing(cluster.socket.socket()) as holder:
            holder.bind(("127.0.0.1", port))
            holder.listen()
            self.complains(["router", "--listen", f"127.0.0.1:{port}"], str(port), code=1)

    def test_data_directory_is_a_file(self):
        with tempfile.NamedTemporaryFile() as file:
            self.complains(["node", "--data-dir", file.name], file.name)
            self.complains(["placement", "--data-dir", file.name], file.name)

    def test_a_ledger_that_is_none(self):
        self.complains(["bench", "verify", "--ledger", "/nonexistent/ledger"], "/nonexistent/ledger", code=1)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("hello\n")
            file.flush()
            self.complains(["bench", "verify", "--ledger", file.name], file.name, "line 1", code=1)

    def test_demo_wants_a_directory_of_its_own(self):
        with tempfile.TemporaryDirectory() as directory:
            keep = os.path.join(directory, "precious")
            with open(keep, "w", encoding="utf-8"):
                pass
            self.complains(["demo", "--data-dir", directory], directory, "not empty", code=1)
            self.assertTrue(os.path.exists(keep))

    def test_file_and_environment_give_options_too(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write("workload: put\nranges: 3\nkeys: 300\n")
            file.flush()
            code, out, err = run(["bench", "split-keys", "--config", file.name])
            self.assertEqual(code, 0, err)
            self.assertEqual(out.strip(), "kv/000000100,kv/000000200")
            code, out, _ = run(["bench", "split-keys", "--config", file.name, "--ranges", "2"])
            self.assertEqual(out.strip(), "kv/000000150")


if __name__ == "__main__":
    cluster.need_binary()
    unittest.main(verbosity=2)
