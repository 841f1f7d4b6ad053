#!/usr/bin/python3
"""No quorum, no placement, a frozen node, a full disk: each gets a clear answer in time, nothing is
lost, and the cluster serves again when the cause is gone."""

import os
import shutil
import subprocess
import sys
import time
import unittest

import cluster
from cluster import Cluster, wait_until

kv = services = grpc = stub = c = None


def put(key, value, timeout=5.0, request_id=b""):
    return stub.Put(kv.PutRequest(key=key, value=value, request_id=request_id), timeout=timeout)


def get(key, timeout=5.0):
    answer = stub.Get(kv.GetRequest(key=key), timeout=timeout)
    return answer.value if answer.found else None


class Outage(unittest.TestCase):
    def fails(self, codes, call, *words):
        started = time.monotonic()
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        error = caught.exception
        self.assertIn(error.code(), codes, error.details())
        for word in words:
            self.assertIn(word, error.details())
        return time.monotonic() - started

    def setUp(self):
        """One test's failure must not be the next one's."""
        for process in c.processes():
            if not process.running():
                process.child = None
                process.start()
        c.wait_led()

    def test_no_quorum(self):
        """Whoever asks for what is linearizable is refused in time; stale reads go on."""
        version = put(b"quorum", b"1").version
        for _ in range(2 * len(c.nodes)):  # by every replica in turn
            wait_until("every replica has it", lambda: self.stale(b"quorum").version == version, 10)
        for node in c.nodes[1:]:
            node.kill()
        S = grpc.StatusCode
        # A write that was proposed before the leader knew may end unknown, but never as done.
        took = self.fails((S.UNAVAILABLE, S.DEADLINE_EXCEEDED, S.UNKNOWN),
                          lambda: put(b"quorum", b"2", timeout=2, request_id=b"no-quorum"))
        self.assertLess(took, 3)
        wait_until("reads refuse too", lambda: self.read_refuses(b"quorum"), 10)
        for _ in range(2 * len(c.nodes)):
            answer = self.stale(b"quorum")
            self.assertEqual((answer.value, answer.version), (b"1", version))
            self.assertGreaterEqual(answer.as_of, version)
        rows = stub.Scan(kv.ScanRequest(start=b"quorum", end=b"quorun", mode=kv.READ_MODE_STALE), timeout=5)
        self.assertEqual([row.key for row in rows.rows], [b"quorum"])
        self.assertGreaterEqual(rows.as_of, version)
        c.nodes[1].start()
        wait_until("two of three serve", lambda: self.tries(lambda: put(b"quorum", b"3")), 20)
        self.assertEqual(get(b"quorum"), b"3")
        c.nodes[2].start()
        c.wait_led()

    @staticmethod
    def stale(key):
        return stub.Get(kv.GetRequest(key=key, mode=kv.READ_MODE_STALE), timeout=5)

    def read_refuses(self, key):
        try:
            get(key, timeout=1)
            return False
        except grpc.RpcError as error:
            return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

    def tries(self, call):
        try:
            call()
            return True
        except grpc.RpcError:
            return False

    def test_placement_away(self):
        """Reads go on; writes wait for timestamps until their deadline and change nothing."""
        put(b"away", b"1")
        c.placement.kill()
        self.assertEqual(get(b"away"), b"1")
        S = grpc.StatusCode
        for request_id in (b"", b"id-away"):
            self.fails((S.UNAVAILABLE,), lambda i=request_id: put(
                b"away", b"2", timeout=2, request_id=i),
                "no timestamp from placement", "nothing was changed")
        self.assertEqual(get(b"away"), b"1")
        c.placement.start()
        wait_until("writes go on", lambda: self.tries(lambda: put(b"away", b"3")), 20)
        self.assertEqual(get(b"away"), b"3")
        c.wait_led()

    def test_router_without_placement(self):
        """A router that knows no placement says so, in time; it serves as soon as there is one."""
        c.router.kill()
        c.placement.kill()
        c.router.start()
        S = grpc.StatusCode
        with grpc.insecure_channel(c.router_address) as channel:  # not the one that was cut off
            fresh = services.KeyValueStub(channel)
            took = self.fails((S.UNAVAILABLE,), lambda: fresh.Put(
                kv.PutRequest(key=b"lost", value=b"1"), timeout=2), "placement")
        self.assertLess(took, 2.5)
        c.placement.start()
        wait_until("the router has found its way", lambda: self.tries(lambda: put(b"lost", b"2")), 20)
        self.assertEqual(get(b"lost"), b"2")
        c.wait_led()

    def test_frozen_leader(self):
        """Stopped, not dead: its connections stay up and nothing comes back."""
        put(b"frozen", b"1")
        _, leader = c.leader_of("frozen")
        c.nodes[leader].pause()
        try:
            wait_until("another one leads", lambda: self.tries(lambda: put(b"frozen", b"2", timeout=2)), 15)
            self.assertEqual(get(b"frozen"), b"2")
        finally:
            c.nodes[leader].resume()
        put(b"frozen", b"3")
        self.assertEqual(get(b"frozen"), b"3")
        c.wait_led()

    def test_nobody_reads_the_log(self):
        """The reader of a process's log leaves: the process does not."""
        reader, writer = os.pipe()
        process = subprocess.Popen(
            [cluster.BIN, "router", "--listen", "127.0.0.1:0", "--placement", c.placement_address,
             "--log-level", "debug"], stdin=subprocess.DEVNULL, stdout=writer, stderr=writer,
            env=cluster.environment(), preexec_fn=cluster._die_with_parent)
        os.close(writer)
        self.assertTrue(os.read(reader, 1))
        os.close(reader)  # from here on every line that it writes fails
        process.terminate()
        self.assertEqual(process.wait(10), 0)

    def on_small_disks(self, nodes, options, story):
        """Runs `story` with these nodes' directories on disks with 96 MB left; `grow` makes that 4 GB."""
        if os.geteuid() != 0:
            self.skipTest("needs root to mount a small disk")
        mounts = [c.path(node.name) for node in nodes]
        for node, mount in zip(nodes, mounts):
            node.kill()
            os.rename(mount, mount + "-kept")
            os.mkdir(mount)
            used = int(subprocess.check_output(["du", "-sm", mount + "-kept"]).split()[0])
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={used + 96}m", "tmpfs", mount],
                                     capture_output=True, check=False)
            if mounted.returncode != 0:
                os.rmdir(mount)
                os.rename(mount + "-kept", mount)
                node.start()
                self.skipTest("mounting is not possible here")
            subprocess.run(["cp", "-a", mount + "-kept/.", mount], check=True)
        try:
            for node in nodes:
                node.launch(["--min-free-bytes", "0", *options])
            for node in nodes:
                node.wait_ready()
            c.wait_led()
            story(lambda: [subprocess.run(["mount", "-o", "remount,size=4g", mount], check=True) for mount in mounts])
        finally:
            for node, mount in zip(nodes, mounts):
                if node.child is not None:
                    node.kill()
                # Back to a disk with room, for whoever comes next.
                shutil.rmtree(mount + "-kept")
                subprocess.run(["cp", "-a", mount, mount + "-kept"], check=True)
                subprocess.run(["umount", "-l", mount], check=True)
                os.rmdir(mount)
                os.rename(mount + "-kept", mount)

    def test_full_disk(self):
        """Without a reserve: the node on the full disk stops with the reason on its last line; the
        others serve on; with room again it comes back."""
        def story(grow):
            for i in range(400):
                if not c.nodes[0].running():
                    break
                self.tries(lambda i=i: put(b"full/%d" % i, b"x" * 1000000))
            self.assertFalse(c.nodes[0].running(), "400 MB do not fit on 96 MB")
            c.nodes[0].wait()
            self.assertIn("space", c.nodes[0].log().strip().splitlines()[-1])
            wait_until("the others serve on", lambda: self.tries(lambda: put(b"full", b"served")), 20)
            grow()
            c.nodes[0].start()
            c.wait_led()
            self.assertEqual(get(b"full"), b"served")
        self.on_small_disks(c.nodes[:1], ["--reserve-free-bytes", "0"], story)

    def test_nearly_full_disk(self):
        """With one: the node hands its leaders over and takes no more entries before its engine must
        fail; the others serve all the time; with room again it catches up and may lead."""
        def story(grow):
            for i in range(500):
                wait_until("the others serve", lambda i=i: self.tries(
                    lambda: put(b"near/%d" % i, b"x" * 300000)), 20)
            self.assertTrue(c.nodes[0].running(), c.nodes[0].tail())
            log = c.nodes[0].log()
            for words in ("leaders go to other nodes", "entries of other leaders"):
                self.assertIn(words, log)
            self.assertLess(self.metric("storage_disk_free_bytes"), self.metric("storage_disk_bytes") / 4)
            self.assertFalse([r for r in c.status()["ranges"] if r["leader_node"] == c.node_id(0)])
            grow()
            wait_until("there is room", lambda: "writes are taken again" in c.nodes[0].log(), 20)
            one = c.status()["ranges"][0]["id"]
            def leads_again():
                cluster.run(["admin", "transfer", "--range", one, "--to-node", c.node_id(0),
                             "--placement", c.placement_address])
                return c.status()["ranges"][0]["leader_node"] == c.node_id(0)
            wait_until("it leads again", leads_again, 30)
            for i in range(500):
                self.reads_whole(b"near/%d" % i)
            mount = c.path("node1")
            for free, words in (0.07, "below_percent=10"), (0.03, "below_percent=5"):
                def warned(free=free, words=words):  # a compaction may make room meanwhile
                    size = int(shutil.disk_usage(mount).used / (1 - free))
                    subprocess.run(["mount", "-o", f"remount,size={size}", mount], check=True)
                    return words in c.nodes[0].log()
                wait_until("the log warns", warned, 10, poll_s=0.3)
        self.on_small_disks(c.nodes[:1], ["--write-buffer-bytes", str(1 << 20)], story)

    def test_all_disks_are_nearly_full(self):
        """Where nobody else could lead either, the answer names the disk, and no node ends; reads go
        on; with room again writes do, too."""
        def fill():
            written = []
            for i in range(1000):
                try:
                    put(b"all/%d" % i, b"x" * 300000, timeout=3)
                    written.append(i)
                except grpc.RpcError as error:
                    if "NO_SPACE" in error.details():
                        return written, error
            self.fail("300 MB do not fit on 96 MB")

        def story(grow):
            written, error = fill()
            self.assertGreater(len(written), 10)
            self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
            for word in ("disk of", c.directory, "nothing was changed"):
                self.assertIn(word, error.details())
            for i in written:
                self.reads_whole(b"all/%d" % i)
            for node in c.nodes:
                self.assertTrue(node.running(), node.tail())
            grow()
            wait_until("writes are taken again", lambda: self.tries(lambda: put(b"all", b"2")), 20)
        self.on_small_disks(c.nodes, ["--write-buffer-bytes", str(1 << 20)], story)

    def reads_whole(self, key):
        """On a busy machine a connection may break; the value is there all the same."""
        found = []
        wait_until("a read", lambda: self.tries(lambda: found.append(get(key))), 20)
        self.assertEqual(len(found[-1] or b""), 300000)

    def metric(self, name):
        code, out, err = cluster.run(["admin", "metrics", "--address", f"127.0.0.1:{c.nodes[0].port}"])
        self.assertEqual(code, 0, err)
        return float(next(line for line in out.splitlines() if line.startswith(name + " ")).split()[1])

    def test_little_space_is_refused_at_the_start(self):
        node = c.make_node(21, options=["--min-free-bytes", str(1 << 50)])
        self.assertEqual(node.launch().wait(10), 1)
        self.assertIn("free", node.log().strip().splitlines()[-1])


def main():
    global kv, services, grpc, stub, c
    with Cluster(nodes=3, ranges=4) as c_:
        c = c_
        kv, services = cluster.generated_client(c.directory)
        import grpc as grpc_
        grpc = grpc_
        # A channel that finds the restarted router quickly.
        channel = grpc.insecure_channel(c.router_address, options=[("grpc.max_reconnect_backoff_ms", 200)])
        stub = services.KeyValueStub(channel)
        # The disk comes last: it costs its node its directory.
        names = sys.argv[1:] or (
            "test_no_quorum", "test_placement_away", "test_router_without_placement", "test_frozen_leader",
            "test_nobody_reads_the_log", "test_little_space_is_refused_at_the_start", "test_nearly_full_disk",
            "test_all_disks_are_nearly_full", "test_full_disk")
        tests = unittest.TestSuite(Outage(name) for name in names)
        result = unittest.TextTestRunner(verbosity=2).run(tests)
        channel.close()
        if not result.wasSuccessful():
            c.print_tails()
            return 1
        return 0


if __name__ == "__main__":
    cluster.need_binary()
    sys.exit(main())
