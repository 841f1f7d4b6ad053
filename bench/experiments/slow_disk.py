"""A slow disk for one process: every log sync of its takes longer, by a bounded time.

The delay is put into the system call from outside, by strace, and only into the threads that sync the log: no hook in
the product, no file system whose journal all processes share, no root. It begins and ends while the process runs.
"""

import re
import signal
import subprocess

import cluster

SYNCS = "fdatasync,fsync"


class CannotTrace(Exception):
    """strace may not do this here, with its own words."""


def syncing_threads(process_id, seconds=1):
    """The worker, and the network's thread when it takes an idle worker's turns. Needs a load meanwhile."""
    done = subprocess.run(["timeout", "--signal=INT", str(seconds), "strace", "-f", "-e", f"trace={SYNCS}", "-p", str(process_id)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return often_syncing(done.stderr, process_id)


def often_syncing(traced, process_id):
    """Who makes a twentieth of all syncs or more: a flush in the background makes few.

    Of strace's lines: `[pid 17] fdatasync(…`; without a number it is the first thread."""
    counts = {}
    for line in traced.splitlines():
        match = re.match(r"(?:\[pid +(\d+)\] )?(?:fdatasync|fsync)\(", line)
        if match:
            thread = int(match.group(1) or process_id)
            counts[thread] = counts.get(thread, 0) + 1
    if not counts:
        raise CannotTrace(f"no sync of process {process_id} was seen; strace said:\n" + "\n".join(traced.splitlines()[-5:]))
    return sorted(thread for thread, count in counts.items() if count * 20 >= sum(counts.values()))


class SlowDisk:
    """As a context: the threads' syncs take `delay_ms` longer."""

    def __init__(self, thread_ids, delay_ms):
        self.thread_ids = thread_ids
        self.delay_us = int(delay_ms * 1000)
        self.tracer = None

    def __enter__(self):
        self.tracer = subprocess.Popen(
            ["strace", "-o", "/dev/null", "-e", f"trace={SYNCS}", f"--inject={SYNCS}:delay_enter={self.delay_us}",
             *(option for thread in self.thread_ids for option in ("-p", str(thread)))],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=cluster._die_with_parent)
        for _ in self.thread_ids:
            said = self.tracer.stderr.readline()
            if "attached" not in said:
                self.tracer.kill()
                self.tracer.wait()
                raise CannotTrace(said.strip())
        return self

    def __exit__(self, kind, value, trace):
        """Detaches: the process goes on as if nothing had been."""
        self.tracer.send_signal(signal.SIGINT)
        self.tracer.wait(10)
        self.tracer.stderr.close()
