"""A cluster of real processes for tests: placement, nodes, router, in a temporary directory.

Every process is a child that the kernel kills when the test dies. Waits are for conditions, with a
deadline; nothing sleeps and hopes. Ports lie below the range that the kernel gives to outgoing
connections, so that a killed process finds its own free again.
"""

import atexit
import contextlib
import ctypes
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BIN = os.environ.get("FLOTILLA_BIN", "")
SKIP = 77  # exit code of a test that cannot run here
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_libc = ctypes.CDLL("libc.so.6", use_errno=True)
_PR_SET_PDEATHSIG = 1
_used_ports = set()


def skip(why):
    print("skipped:", why)
    sys.exit(SKIP)


def need_binary():
    if not (BIN and os.access(BIN, os.X_OK)):
        print("FLOTILLA_BIN names no executable")
        sys.exit(1)


def free_port():
    for _ in range(1000):
        port = random.randint(12000, 29999)
        if port in _used_ports:
            continue
        with contextlib.closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _used_ports.add(port)
        return port
    raise RuntimeError("no free port on 127.0.0.1")


def wait_until(what, condition, timeout_s=30.0, poll_s=0.02):
    """Returns the condition's first true value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(poll_s)


def _die_with_parent():
    os.setpgid(0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def environment():
    """Ours without FLOTILLA_*: an operator's settings must not reach into tests."""
    return {k: v for k, v in os.environ.items() if not k.startswith("FLOTILLA_")}


class Process:
    """One process, of flotilla unless another program is named; its log is kept over restarts."""

    def __init__(self, name, directory, arguments, port=None, wrapper=(), program=None):
        self.name = name
        self.program = program or BIN
        self.arguments = [str(a) for a in arguments]
        self.wrapper = list(wrapper)
        self.port = port
        self.log_path = os.path.join(directory, name + ".log")
        self.ready_path = os.path.join(directory, name + ".ready")
        self.child = None

    def launch(self, extra=()):
        assert self.child is None, f"{self.name} runs already"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.ready_path)
        command = self.wrapper + [self.program] + self.arguments + [str(a) for a in extra]
        if self.port is not None:
            command += ["--ready-file", self.ready_path]
        with open(self.log_path, "ab") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(),
                preexec_fn=_die_with_parent)
        return self

    def start(self, timeout_s=30.0):
        self.launch()
        self.wait_ready(timeout_s)
        return self

    def wait_ready(self, timeout_s=30.0):
        def ready():
            if self.child.poll() is not None:
                raise AssertionError(
                    f"{self.name} ended with {self.child.returncode} before it was ready:\n{self.tail()}")
            return os.path.exists(self.ready_path)
        wait_until(f"{self.name} is ready", ready, timeout_s)

    def running(self):
        return self.child is not None and self.child.poll() is None

    def kill(self):
        """As a crash: SIGKILL."""
        self.child.kill()
        self.child.wait()
        self.child = None

    def stop(self, timeout_s=20.0, number=signal.SIGTERM):
        """Asks it to end; returns its exit code."""
        self.child.send_signal(number)
        return self.wait(timeout_s)

    def wait(self, timeout_s=20.0):
        try:
            code = self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout_s} s:\n{self.tail()}") from None
        self.child = None
        return code

    def pause(self):
        self.child.send_signal(signal.SIGSTOP)

    def resume(self):
        self.child.send_signal(signal.SIGCONT)

    def log(self):
        try:
            with open(self.log_path, errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""

    def tail(self, lines=15):
        return "\n".join(f"{self.name} | {line}" for line in self.log().splitlines()[-lines:])


class Cluster:
    """placement, nodes, router. As a context: started on entry, killed and removed on exit; on an
    exception the tails of all logs are printed first."""

    def __init__(self, nodes=3, ranges=8, replication=None, issuers=256, split_keys=None,
                 node_options=(), router_options=(), placement_options=(), directory=None):
        need_binary()
        self.directory = directory or tempfile.mkdtemp(prefix="flotilla-test-")
        atexit.register(shutil.rmtree, self.directory, ignore_errors=True)
        self.issuers = issuers
        self.ranges = ranges
        if split_keys is None:
            split_keys = run(["bench", "split-keys", "--ranges", ranges, "--issuers", issuers])[1].strip()
        port = free_port()
        self.placement_address = f"127.0.0.1:{port}"
        replication = replication or (3 if nodes >= 3 else 1)
        self.placement = Process("placement", self.directory, [
            "placement", "--data-dir", self.path("placement"), "--listen", self.placement_address,
            "--replication-factor", replication, "--birth-nodes", nodes,
            "--split-keys", split_keys, *placement_options], port)
        self.nodes = [self.make_node(i + 1, options=node_options) for i in range(nodes)]
        port = free_port()
        self.router_address = f"127.0.0.1:{port}"
        self.router = Process("router", self.directory, [
            "router", "--listen", self.router_address, "--placement", self.placement_address,
            *router_options], port)

    def path(self, name):
        return os.path.join(self.directory, name)

    def make_node(self, number, options=(), data_dir=None, wrapper=()):
        port = free_port()
        return Process(f"node{number}", self.directory, [
            "node", "--data-dir", data_dir or self.path(f"node{number}"),
            "--listen", f"127.0.0.1:{port}", "--placement", self.placement_address,
            *options], port, wrapper)

    def processes(self):
        return [self.placement, *self.nodes, self.router]

    def start(self):
        self.placement.start()
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()
        self.router.start()
        self.wait_led()
        return self

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.print_tails()
            self.close()
            raise

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.print_tails()
        self.close()

    def close(self):
        for process in self.processes():
            if process.child is not None:
                process.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def print_tails(self):
        for process in self.processes():
            print(process.tail())
        sys.stdout.flush()

    # ---- what the cluster says of itself ----

    def status(self):
        code, out, _ = run(["admin", "status", "--json", "--placement", self.placement_address,
                            "--timeout-ms", 1000])
        return json.loads(out) if code == 0 else None

    def wait_led(self, timeout_s=30.0, except_node=None):
        """Every range has a leader (on another node than the one given)."""
        def led():
            status = self.status()
            return bool(status and status["ranges"] and all(
                r["leader_node"] not in (0, except_node) for r in status["ranges"])) and status
        return wait_until("every range is led", led, timeout_s)

    def node_id(self, index):
        """The id that placement gave to self.nodes[index]."""
        match = re.search(r"ready .*node=(\d+)", self.nodes[index].log())
        return int(match.group(1))

    def index_of(self, node_id):
        return next(i for i in range(len(self.nodes)) if self.node_id(i) == node_id)

    def leader_of(self, key):
        """(range id, index of the node that leads it)."""
        for r in self.status()["ranges"]:
            if r["start"] <= key and (not r["end"] or key < r["end"]):
                return r["id"], self.index_of(r["leader_node"])
        raise AssertionError(f"no range has {key}")

    # ---- load ----

    def bench(self, workload, *options, name=None):
        """Launches `flotilla bench WORKLOAD` against the router."""
        process = Process(name or f"bench-{workload}", self.directory, [
            "bench", workload, "--router", self.router_address,
            *(["--issuers", self.issuers] if workload == "hot-issuer" else []), *options])
        return process.launch()

    def finish_bench(self, bench, timeout_s=120.0):
        """Waits for its end; returns the figures. Any exit code but 0 is a failure."""
        code = bench.wait(timeout_s)
        lines = [line for line in bench.log().splitlines() if line.startswith("{")]
        assert code == 0, f"{bench.name} exited with {code}:\n{bench.tail(40)}"
        return json.loads(lines[-1])


def run(arguments, timeout_s=60.0):
    """A flotilla command to its end: (exit code, standard output, standard error)."""
    done = subprocess.run([BIN] + [str(a) for a in arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout_s, env=environment(),
                          preexec_fn=_die_with_parent, check=False)
    return done.returncode, done.stdout, done.stderr


def expect_clean(figures):
    for what in ("lost", "doubled", "overbooked"):
        assert figures[what] == 0, figures


def generated_client(directory):
    """(messages, services) generated from the public proto by stock tools, as anybody would."""
    plugin = shutil.which("grpc_python_plugin")
    if not (shutil.which("protoc") and plugin):
        skip("protoc or grpc_python_plugin is not installed")
    try:
        import grpc  # noqa: F401
    except ImportError:
        skip("python3-grpcio is not installed")
    out = os.path.join(directory, "generated")
    os.makedirs(out, exist_ok=True)
    proto_root = os.path.join(ROOT, "rpc", "proto")
    subprocess.run(["protoc", f"-I{proto_root}", f"--python_out={out}", f"--grpc_python_out={out}",
                    f"--plugin=protoc-gen-grpc_python={plugin}", "flotilla/v1/kv.proto"], check=True)
    sys.path.insert(0, out)
    import importlib
    return (importlib.import_module("flotilla.v1.kv_pb2"),
            importlib.import_module("flotilla.v1.kv_pb2_grpc"))
