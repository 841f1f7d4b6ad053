#!/usr/bin/python3
"""A node whose write-ahead log has a hole refuses to start and says what to do; what it says works,
and nothing that was acknowledged is missing."""

import glob
import os
import shutil
import struct
import sys
import unittest

import cluster
from cluster import Cluster, run, wait_until

kv = services = grpc = stub = c = None
rows = 0


def load(count):
    """Acknowledged writes; each of 3 kB, in all ranges."""
    global rows
    for _ in range(count):
        stub.Put(kv.PutRequest(key=b"%c%06d" % (rows * 53 % 256, rows), value=b"%06d" % rows * 500), timeout=10)
        rows += 1


def missing():
    """How many acknowledged writes a linearizable read does not find."""
    count = 0
    for row in range(rows):
        answer = stub.Get(kv.GetRequest(key=b"%c%06d" % (row * 53 % 256, row)), timeout=10)
        count += answer.value != b"%06d" % row * 500
    return count


def logs(node):
    return sorted(glob.glob(c.path(node) + "/engine/*.log"))


def records(path):
    """Where each record of a log begins."""
    data, at, found = open(path, "rb").read(), 0, []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at = (at // 32768 + 1) * 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if kind == 0:
            break
        if kind in (1, 2):
            found.append(at)
        at += 7 + length
    return found


def cut_between(logs_):
    """The first log that is cut between two records, with another one behind it."""
    starts = records(logs_[-2])
    os.truncate(logs_[-2], starts[len(starts) // 2])


def middle_removed(logs_):
    os.unlink(logs_[-3])


def middle_emptied(logs_):
    os.truncate(logs_[-3], 0)


def newest_removed(logs_):
    os.unlink(logs_[-1])


def newest_cut(logs_):
    starts = records(logs_[-1])
    os.truncate(logs_[-1], starts[len(starts) // 2])


class DamagedLog(unittest.TestCase):
    def test_hole_is_refused_and_the_way_out_works(self):
        node = c.nodes[2]
        while len(logs("node3")) < 4 or os.path.getsize(logs("node3")[-1]) < 100000:
            load(20)
        node.kill()
        kept = c.path("kept")
        shutil.copytree(c.path("node3"), kept)
        for damage in (cut_between, middle_removed, middle_emptied, newest_removed, newest_cut):
            with self.subTest(damage.__name__):
                damage(logs("node3"))
                self.assertEqual(node.launch().wait(20), 1, node.tail())
                last = node.log().strip().splitlines()[-1]
                for words in ("write-ahead log", "move-replica", "empty", "docs/operations.md"):
                    self.assertIn(words, last)
                shutil.rmtree(c.path("node3"))
                shutil.copytree(kept, c.path("node3"))
        self.replace_by_an_empty_one()
        # Half of the replicas are new: with them alone and one old one, everything is there.
        c.nodes[0].kill()
        wait_until("the others lead", self.reads, 20)
        self.assertEqual(missing(), 0)

    def replace_by_an_empty_one(self):
        lost = c.node_id(2)
        c.nodes.append(c.make_node(4).start())
        new = c.node_id(3)
        for one in c.status()["ranges"]:
            code, _, err = run(["admin", "move-replica", "--range", one["id"], "--from", lost, "--to", new,
                                "--placement", c.placement_address], timeout_s=60)
            self.assertEqual(code, 0, err)

    def reads(self):
        try:
            return all(stub.Get(kv.GetRequest(key=b"%c%06d" % (row * 53 % 256, row)), timeout=1).found
                       for row in range(20))
        except grpc.RpcError:
            return False


def main():
    global kv, services, grpc, stub, c
    with Cluster(nodes=3, ranges=4, node_options=["--write-buffer-bytes", str(4 << 20)]) as c_:
        c = c_
        kv, services = cluster.generated_client(c.directory)
        import grpc as grpc_
        grpc = grpc_
        with grpc.insecure_channel(c.router_address) as channel:
            stub = services.KeyValueStub(channel)
            result = unittest.main(argv=sys.argv, exit=False).result
        if not result.wasSuccessful():
            c.print_tails()
            return 1
        return 0


if __name__ == "__main__":
    cluster.need_binary()
    sys.exit(main())
