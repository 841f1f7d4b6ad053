"""A way to a process that leads for some and not for others: a TCP proxy on loopback that tells its
callers apart by their process, as a firewall would by their machine."""

import contextlib
import os
import select
import socket
import threading

CHUNK = 1 << 16


def sockets_of(pid):
    """The inodes of a process's sockets."""
    inodes = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{fd}")
                if target.startswith("socket:["):
                    inodes.add(target[len("socket:["):-1])
    return inodes


def local_ports_of(pid):
    """The local TCP ports of a process."""
    inodes = sockets_of(pid)
    ports = set()
    for name in ("tcp", "tcp6"):  # dual-stack sockets are in the second, whatever they speak
        with contextlib.suppress(FileNotFoundError), open(f"/proc/net/{name}", encoding="ascii") as table:
            for line in table.readlines()[1:]:
                fields = line.split()
                if fields[9] in inodes:
                    ports.add(int(fields[1].split(":")[1], 16))
    return ports


class Proxy:
    """Listens on a port of its own and passes bytes to the target port and back. Nobody is cut off
    at first."""

    def __init__(self, port, target_port):
        self.target_port = target_port
        self.cut_pid = None
        self.silent = False
        self.pairs = []  # (caller, target)
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, pid, silent=False):
        """Cuts the process off: its connections are closed and no new one lives; or, silent, what it
        sends vanishes, and it hears nothing more."""
        with self.lock:
            self.silent = silent
            self.cut_pid = pid
            if silent:
                return
            ports = local_ports_of(pid)
            for caller, target in self.pairs:
                with contextlib.suppress(OSError):
                    if caller.getpeername()[1] in ports:
                        for end in (caller, target):
                            end.shutdown(socket.SHUT_RDWR)

    def heal(self):
        """Connections that were cut in silence are closed: their bytes are missing."""
        with self.lock:
            pid, self.cut_pid = self.cut_pid, None
            ports = local_ports_of(pid)
            for caller, _ in self.pairs:
                with contextlib.suppress(OSError):
                    if self.silent and caller.getpeername()[1] in ports:
                        caller.shutdown(socket.SHUT_RDWR)

    def _is_cut(self, caller):
        with self.lock:
            pid = self.cut_pid
        if pid is None:
            return False
        try:
            return caller.getpeername()[1] in local_ports_of(pid)
        except OSError:
            return False

    def _accept(self):
        while True:
            caller, _ = self.listener.accept()
            if self._is_cut(caller) and not self.silent:
                caller.close()
                continue
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller):
        try:
            target = socket.create_connection(("127.0.0.1", self.target_port))
        except OSError:
            caller.close()
            return
        for end in (caller, target):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.pairs.append((caller, target))
        other = {caller: target, target: caller}
        with contextlib.suppress(OSError):
            while True:
                for end in select.select([caller, target], [], [])[0]:
                    data = end.recv(CHUNK)
                    if not data:
                        raise OSError("closed")
                    if not self._is_cut(caller):
                        other[end].sendall(data)
        with self.lock:
            self.pairs.remove((caller, target))
        caller.close()
        target.close()
