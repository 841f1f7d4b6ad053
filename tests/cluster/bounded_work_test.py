#!/usr/bin/python3
"""Requests that look at much and show little: scans over a queue whose rows are all done with, and a
write that is guarded by an interval. Nobody else on the node is held up by them, no leader is lost,
and who scans gets to the end, whatever its deadlines."""

import sys
import threading
import time
import unittest

import cluster
from cluster import Cluster

ROWS, PER_WRITE = 100000, 5000
SCANNERS, SCANS = 8, 4
OTHERS = (b"k/other", b"s/other", b"z/other")  # in ranges of their own
# Eight scans over everything take a second of a processor at one go, which costs a node its leaders; what a
# turn may do takes milliseconds, also on a machine that has ten other things to do.
ELECTION_MS = 600

kv = c = stub = grpc = services = None


def leaders_seen():
    """How often any range was led anew, over the whole life of the cluster."""
    return sum(node.log().count(" range_leader ") for node in c.nodes)


def scan_all(store, timeout_s, reverse=False):
    """Page after page; a page that ran out of time goes on where it says."""
    start, end, rows, pages = b"q/", b"q0", [], 0
    while True:
        try:
            page = store.Scan(kv.ScanRequest(start=start, end=end, reverse=reverse, row_limit=10), timeout=timeout_s)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
            continue
        rows += [row.key for row in page.rows]
        pages += 1
        if not page.more:
            return rows, pages
        start, end = (start, page.resume) if reverse else (page.resume, end)


class Poller(threading.Thread):
    """Writes to another range all the time; remembers how long the slowest took, and what failed."""

    def __init__(self, key):
        super().__init__(daemon=True)
        self.key, self.worst_s, self.failed, self.done = key, 0.0, [], False
        self.start()

    def run(self):
        while not self.done:
            begun = time.monotonic()
            try:
                stub.Put(kv.PutRequest(key=self.key, value=b"v"), timeout=10)
            except grpc.RpcError as error:
                self.failed.append(str(error.code()))
            self.worst_s = max(self.worst_s, time.monotonic() - begun)
            time.sleep(0.02)

    def finish(self):
        self.done = True
        self.join(30)


class BoundedWork(unittest.TestCase):
    def test_scans_over_deleted_rows_hold_up_nobody(self):
        pollers = [Poller(key) for key in OTHERS]
        before = leaders_seen()
        found, failed = [], []

        def scanner(number):
            with grpc.insecure_channel(c.router_address) as channel:
                store = services.KeyValueStub(channel)
                for at in range(SCANS):
                    try:
                        found.append(scan_all(store, 30, reverse=bool((number + at) % 2))[0])
                    except grpc.RpcError as error:
                        failed.append(error.details())

        scanners = [threading.Thread(daemon=True, target=scanner, args=(n,)) for n in range(SCANNERS)]
        for thread in scanners:
            thread.start()
        for thread in scanners:
            thread.join(120)
        for poller in pollers:
            poller.finish()
        print("slowest put elsewhere:", {p.key: round(p.worst_s, 3) for p in pollers}, file=sys.stderr)
        self.assertEqual(failed, [])
        self.assertEqual(found, [[b"q/live"]] * (SCANNERS * SCANS))
        self.assertEqual([p.failed for p in pollers], [[]] * len(pollers))
        self.assertEqual(leaders_seen(), before, "a leader was lost")

    def test_a_scan_gets_on_whatever_its_deadlines(self):
        for reverse in (False, True):
            rows, pages = scan_all(stub, 0.02, reverse)
            self.assertEqual(rows, [b"q/live"])
            self.assertGreater(pages, 1)

    def test_a_write_guarded_by_too_large_an_interval_is_refused(self):
        def guarded(start, end, request_id):
            return stub.Write(kv.WriteRequest(
                request_id=request_id,
                guards=[kv.Guard(key=start, unchanged=kv.Unchanged(end=end, version=(1 << 64) - 1))],
                operations=[kv.Operation(key=b"q/live", put=b"seen")]), timeout=20)
        for _ in range(2):
            refused = guarded(b"q/", b"q0", b"too-much")
            self.assertEqual(refused.refusal, kv.REFUSAL_WORK)
            self.assertIn("20,000", refused.text)
        self.assertTrue(refused.replayed)
        self.assertEqual(guarded(b"q/%09d" % 0, b"q/%09d" % 15000, b"enough").refusal, kv.REFUSAL_NONE)


def fill():
    def operations(first, make):
        return [make(b"q/%09d" % n) for n in range(first, first + PER_WRITE)]

    for make in (lambda key: kv.Operation(key=key, put=b"x" * 16),
                 lambda key: kv.Operation(key=key, remove=kv.Remove())):
        for first in range(0, ROWS, PER_WRITE):
            stub.Write(kv.WriteRequest(operations=operations(first, make)), timeout=20)
    stub.Put(kv.PutRequest(key=b"q/live", value=b"1"), timeout=20)


def main():
    global kv, c, stub, grpc, services
    with Cluster(nodes=3, split_keys="k,q,r,z",
                 node_options=("--heartbeat-ms", 100, "--election-timeout-ms", ELECTION_MS)) as c_:
        c = c_
        kv, services = cluster.generated_client(c.directory)
        import grpc as grpc_
        grpc = grpc_
        channel = grpc.insecure_channel(c.router_address)
        stub = services.KeyValueStub(channel)
        fill()
        result = unittest.main(verbosity=2, exit=False).result
        channel.close()
        if not result.wasSuccessful():
            c.print_tails()
            return 1
        return 0


if __name__ == "__main__":
    cluster.need_binary()
    sys.exit(main())
