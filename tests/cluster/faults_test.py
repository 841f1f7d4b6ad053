#!/usr/bin/python3
"""Followers, leaders, placement and the router are killed and restarted under load, one after the
other; what the clients were told must hold afterwards."""

import sys

import cluster
from cluster import Cluster, expect_clean

HOT = "issuer/MUNI-77/exposure"


def restart(cluster_under_test, process):
    process.start()
    cluster_under_test.wait_led()


def kill_follower(c):
    _, leader = c.leader_of(HOT)
    node = c.nodes[(leader + 1) % 3]
    node.kill()
    c.wait_led(except_node=c.node_id(c.nodes.index(node)))
    restart(c, node)


def kill_leader(c):
    _, leader = c.leader_of(HOT)
    dead = c.node_id(leader)
    c.nodes[leader].kill()
    c.wait_led(except_node=dead)
    restart(c, c.nodes[leader])


def kill_placement(c):
    c.placement.kill()
    restart(c, c.placement)


def kill_router(c):
    c.router.kill()
    c.router.start()


def stop_node_politely(c):
    """Leaders are handed over, so the others lead everything by the time it has ended."""
    _, leader = c.leader_of(HOT)
    gone = c.node_id(leader)
    code = c.nodes[leader].stop()
    assert code == 0, f"exit code {code}\n{c.nodes[leader].tail()}"
    c.wait_led(except_node=gone)
    restart(c, c.nodes[leader])


def main():
    faults = [kill_follower, kill_leader, kill_placement, kill_router, stop_node_politely, kill_leader]
    with Cluster(nodes=3, ranges=8) as c:
        bench = c.bench("hot-issuer", "--duration-s", "600", "--clients", "4", "--in-flight", "16",
                        "--timeout-ms", "1000", "--ledger", c.path("ledger"))
        for fault in faults:
            print("fault:", fault.__name__, flush=True)
            fault(c)
            assert bench.running(), bench.tail(40)
        bench.child.send_signal(cluster.signal.SIGINT)  # ends the run, settles, verifies
        # An interrupted run still verifies what it did, from the ledger it saved.
        code = bench.wait(60)
        print(bench.tail(8))
        assert code == 0, f"bench exited with {code}\n{bench.tail(40)}"
        code, out, err = cluster.run(["bench", "verify", "--router", c.router_address,
                                      "--ledger", c.path("ledger")])
        assert code == 0, out + err
        figures = cluster.json.loads(out)
        expect_clean(figures)
        assert figures["acked"] > 1000, figures
        print(out)


if __name__ == "__main__":
    sys.exit(main())
