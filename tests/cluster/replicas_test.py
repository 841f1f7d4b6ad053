#!/usr/bin/python3
"""Replicas move from node to node under load, with kills in the middle; nothing that was acknowledged
is lost, and what was moved away is gone where it was."""

import json
import re
import sys
import time

import cluster
from cluster import Cluster, Process, expect_clean, run, wait_until

HOT = "issuer/MUNI-77/exposure"
c = None
hot = 0  # id of the range of HOT


def admin(command, *options):
    """To its end: (exit code, result of the last line of output or None, complaint)."""
    code, out, err = run(["admin", command, "--range", hot, *options, "--placement", c.placement_address],
                         timeout_s=90)
    lines = [line for line in out.splitlines() if line.startswith("{")]
    return code, json.loads(lines[-1]) if lines else None, err


def replicas():
    code, result, err = admin("replicas", "--json")
    assert code == 0, err
    return result


def nodes_of(result):
    assert not result["joint"] and all(r["role"] == "voter" for r in result["replicas"]), result
    return sorted(r["node"] for r in result["replicas"])


def free_node():
    return next(i for i in (1, 2, 3, 4) if i not in nodes_of(replicas()))


def follower():
    result = replicas()
    return next(n for n in nodes_of(result) if n != result["leader_node"])


def begin_move(from_node, to_node):
    """In the background; its output is the process's log."""
    begin_move.count += 1
    return Process(f"move{begin_move.count}", c.directory, [
        "admin", "move-replica", "--range", hot, "--from", from_node, "--to", to_node,
        "--placement", c.placement_address]).launch()


begin_move.count = 0


def wait_line(process, text):
    def there():
        assert process.running() or text in process.log(), process.tail()
        return text in process.log()
    wait_until(f"{process.name} says '{text}'", there)


def replicas_held(node_id):
    """By what the node itself counts."""
    address = f"127.0.0.1:{c.nodes[c.index_of(node_id)].port}"
    code, out, err = run(["admin", "metrics", "--address", address])
    assert code == 0, err
    return int(re.search(r"(?m)^range_replicas (\d+)", out).group(1))


def expect_moved(result, from_node, to_node):
    """Also at the node that lost it, and in the eyes of placement."""
    nodes = nodes_of(result)
    assert from_node not in nodes and to_node in nodes and len(nodes) == 3, result

    def seen():
        status = c.status()
        entry = status and next(r for r in status["ranges"] if r["id"] == hot)
        return (entry and sorted(entry["nodes"]) == nodes and entry["leader_node"] in nodes
                and set(entry["roles"]) == {"voter"} and not entry["joint"])
    wait_until("placement's map follows", seen, 10)
    others = c.ranges - 1 if from_node in c.born_nodes else 0
    wait_until(f"node {from_node} has deleted its replica", lambda: replicas_held(from_node) == others, 10)


def move(from_node, to_node):
    code, result, err = admin("move-replica", "--from", from_node, "--to", to_node)
    assert code == 0 and result["done"], err
    expect_moved(result, from_node, to_node)


def refuses(*texts, command="move-replica", options=()):
    before = replicas()["conf_version"]
    code, _, err = admin(command, *options)
    assert code == 1 and len(err.strip().splitlines()) == 1, (code, err)
    for text in texts:
        assert text in err, err
    assert replicas()["conf_version"] == before


# ---- the scenes ----

def an_empty_node_is_there_and_serves():
    node = next(n for n in c.status()["nodes"] if n["id"] == 4)
    assert node["alive"] and node["replicas"] == 0 and node["behind_entries"] == 0, node
    assert replicas_held(4) == 0


def what_cannot_be_is_refused():
    a_follower = follower()
    refuses("node 99", "not known", "admin status", options=("--from", a_follower, "--to", 99))
    refuses("already", "one voter less", options=("--from", a_follower, "--to", replicas()["leader_node"]))
    refuses("node 99", "not known", command="add-replica", options=("--node", 99))
    code, result, _ = admin("remove-replica", "--node", free_node())
    assert code == 0 and result["steps"] == 0, "what is so already needs no step"
    code, result, _ = admin("add-replica", "--node", a_follower)
    assert code == 0 and result["steps"] == 0, "what is so already needs no step"


def the_last_voter_stays():
    born = nodes_of(replicas())
    refuses("2 voters", "--force", command="remove-replica", options=("--node", born[0]))
    for node in born[:-1]:
        code, _, err = admin("remove-replica", "--node", node, "--force")
        assert code == 0, err
    refuses("last voter", "first", command="remove-replica", options=("--node", born[-1]))
    refuses(f"node {born[0]} has no replica", options=("--from", born[0], "--to", born[1]))
    for node in born[:-1]:
        code, _, err = admin("add-replica", "--node", node)
        assert code == 0, err
    assert nodes_of(replicas()) == born


def every_node_gives_its_replica_away():
    move(follower(), free_node())
    for _ in range(2):
        move(replicas()["leader_node"], free_node())
    move(follower(), free_node())


def the_target_is_killed_while_it_gets_the_snapshot():
    source, target = follower(), free_node()
    mover = begin_move(source, target)
    wait_line(mover, "gets a snapshot")
    node = c.nodes[c.index_of(target)]
    node.kill()
    assert mover.running(), mover.tail()
    mover.kill()  # and the operator loses patience
    wait_until("placement shows the learner", lambda: c.status()["ranges_with_learners"] == 1, 10)
    node.start()
    move(source, target)


def the_leader_is_killed_in_the_middle_of_a_move():
    source, target = follower(), free_node()
    mover = begin_move(source, target)
    wait_line(mover, "gets a snapshot")
    leader = replicas()["leader_node"]
    node = c.nodes[c.index_of(leader)]
    node.kill()
    wait_until("another leads", lambda: leader_now() not in (0, leader))
    node.start()
    code = mover.wait(90)
    assert code == 0, mover.tail()
    move(source, target)  # once more: it is as asked for


def leader_now():
    code, result, _ = admin("replicas", "--json")
    return result["leader_node"] if code == 0 else 0


def a_lost_node_is_replaced_and_learns_of_it():
    lost, target = follower(), free_node()
    node = c.nodes[c.index_of(lost)]
    node.kill()
    code, result, err = admin("move-replica", "--from", lost, "--to", target)
    assert code == 0 and lost not in nodes_of(result), err
    node.start()
    expect_moved(result, lost, target)


def main():
    global c, hot
    scenes = [an_empty_node_is_there_and_serves, what_cannot_be_is_refused, every_node_gives_its_replica_away,
              the_target_is_killed_while_it_gets_the_snapshot, the_leader_is_killed_in_the_middle_of_a_move,
              a_lost_node_is_replaced_and_learns_of_it, the_last_voter_stays]
    with Cluster(nodes=3, ranges=2, node_options=("--snapshot-bytes-per-s", 8 << 20)) as c_:
        c = c_
        c.born_nodes = (1, 2, 3)
        c.nodes.append(c.make_node(4, options=("--snapshot-bytes-per-s", 8 << 20)).start())
        hot, _ = c.leader_of(HOT)
        bench = c.bench("hot-issuer", "--duration-s", "600", "--clients", "4", "--in-flight", "16",
                        "--timeout-ms", "1000", "--ledger", c.path("ledger"))
        for scene in scenes:
            began = time.monotonic()
            scene()
            print(f"{time.monotonic() - began:5.1f} s  {scene.__name__}", flush=True)
            assert bench.running(), bench.tail(40)
        bench.child.send_signal(cluster.signal.SIGINT)  # ends the run, settles, verifies
        code = bench.wait(60)
        assert code == 0, f"bench exited with {code}\n{bench.tail(40)}"
        code, out, err = run(["bench", "verify", "--router", c.router_address, "--ledger", c.path("ledger")])
        assert code == 0, out + err
        figures = json.loads(out)
        expect_clean(figures)
        assert figures["acked"] > 1000, figures
        print(out)


if __name__ == "__main__":
    cluster.need_binary()
    sys.exit(main())
