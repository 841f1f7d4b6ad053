"""PostgreSQL as the third system: a primary and two standbys, of which one must have a write before it is answered.

It is loaded by pgbench (two threads), because that is how its own people measure it: a reservation is one call of a
function that adds to the exposure within its limit and inserts the reservation's row; a put is an upsert. A failed
primary is not replaced by itself, so fail-over and restart are not measured.
"""

import glob
import os
import pwd
import random
import re
import shutil
import signal
import subprocess

import measure
from cluster import Process, free_port, wait_until

PROGRAMS = "/usr/lib/postgresql/15/bin"
USER = "postgres"  # the server refuses to run as root
LIMIT = 10**15
FAST_SHUTDOWN = signal.SIGINT
CONNECTIONS_PER_S = 50  # on a busy machine
# pgbench's random_zipfian takes no parameter below 1.001; etcd and Flotilla have 0.99.
ZIPF_MIN = 1.001

SCHEMA = """
create table kv (key bigint primary key, value bytea not null);
create table exposure (issuer bigint primary key, reserved bigint not null, most bigint not null);
create table reservation (issuer bigint not null, id bigint not null, amount bigint not null,
                          primary key (issuer, id));
create sequence reservation_id cache 1000;
insert into exposure select i, 0, {limit} from generate_series(1, {issuers}) i;
create function reserve(which bigint, wanted bigint) returns boolean language plpgsql as $$
begin
    update exposure set reserved = reserved + wanted where issuer = which and reserved + wanted <= most;
    if not found then return false; end if;
    insert into reservation values (which, nextval('reservation_id'), wanted);
    return true;
end $$;
"""


def as_user(command):
    """Root becomes the server's user; everybody else stays who they are."""
    if os.geteuid() != 0:
        return command
    return ["/usr/bin/setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--pdeathsig=KILL", *command]


class Postgresql:
    """`synchronous_standby_names = 'ANY 1 (s2, s3)'`, everything else as Debian's defaults."""

    name = "postgresql"

    def __init__(self, directory, cuts=""):
        del cuts  # it is one server
        os.makedirs(directory)
        self.directory = directory
        if os.geteuid() == 0:
            account = pwd.getpwnam(USER)
            os.chown(directory, account.pw_uid, account.pw_gid)
        self.ports = [free_port() for _ in range(3)]
        self.members = [self._member(i) for i in range(3)]

    def _data(self, index):
        return os.path.join(self.directory, f"s{index + 1}")

    def _member(self, index):
        command = as_user([os.path.join(PROGRAMS, "postgres"), "-D", self._data(index), "-p", str(self.ports[index])])
        return Process(f"postgresql-s{index + 1}", self.directory, command[1:], program=command[0])

    def _call(self, command, text=None):
        done = subprocess.run(as_user(command), input=text, capture_output=True, text=True, check=False,
                              cwd=self.directory, timeout=120)
        if done.returncode != 0:
            raise measure.Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-1000:]}")
        return done.stdout

    def _sql(self, text):
        return self._call([os.path.join(PROGRAMS, "psql"), "-h", "127.0.0.1", "-p", str(self.ports[0]), "-U", USER,
                           "-v", "ON_ERROR_STOP=1", "-qAt", "-d", "postgres"], text)

    def _configure(self, index, lines):
        with open(os.path.join(self._data(index), "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write("\n".join(["listen_addresses = '127.0.0.1'", "unix_socket_directories = ''",
                                  "max_connections = 1200", *lines]) + "\n")

    def start(self):
        self._call([os.path.join(PROGRAMS, "initdb"), "-D", self._data(0), "-U", USER, "--auth", "trust"])
        self._configure(0, ["synchronous_commit = on"])
        self.members[0].launch()
        wait_until("the primary answers", lambda: self._answers(0), 60)
        for index in (1, 2):
            self._call([os.path.join(PROGRAMS, "pg_basebackup"), "-D", self._data(index), "-R", "-X", "stream", "-c", "fast",
                        "-d", f"host=127.0.0.1 port={self.ports[0]} user={USER} application_name=s{index + 1}"])
            self.members[index].launch()
        wait_until("both standbys stream", lambda: self._sql(
            "select count(*) from pg_stat_replication where state = 'streaming'").strip() == "2", 60)
        self._sql("alter system set synchronous_standby_names = 'ANY 1 (s2, s3)'")
        self._sql("select pg_reload_conf()")
        self._sql(SCHEMA.format(limit=LIMIT, issuers=256))
        return self

    def _answers(self, index):
        return subprocess.run([os.path.join(PROGRAMS, "pg_isready"), "-h", "127.0.0.1", "-U", USER,
                               "-p", str(self.ports[index])],
                              capture_output=True, check=False).returncode == 0

    def wait_serving(self, timeout_s=60.0):
        wait_until("the primary answers", lambda: self._answers(0), timeout_s)

    def processes(self):
        return {member.name: member for member in self.members}

    def stop_all(self):
        for member in reversed(self.members):
            member.stop(60.0, FAST_SHUTDOWN)

    def relaunch(self):
        for member in self.members:
            member.launch()

    def fill(self, keys, value_bytes):
        self._sql(f"insert into kv select i, repeat('x', {value_bytes})::bytea from generate_series(0, {keys - 1}) i")
        self._sql("vacuum analyze kv")

    def tails(self):
        return "\n".join(member.tail() for member in self.members)

    def close(self):
        for member in reversed(self.members):
            if member.child is not None:
                member.stop(30.0, FAST_SHUTDOWN)
        shutil.rmtree(self.directory, ignore_errors=True)

    # ---- one load ----

    def run_load(self, load, settings):
        """Figures of one measurement, in the names that all systems share."""
        script = os.path.join(self.directory, f"load-{random.getrandbits(32)}.sql")
        with open(script, "w", encoding="utf-8") as file:
            file.write(script_of(load, settings))
        os.chmod(script, 0o644)
        self._pgbench(load, script, settings.warm_up_s)
        before = self._accounts()
        prefix = script + ".log"
        per_s, spent_s = self._pgbench(load, script, settings.seconds, prefix)
        after = self._accounts()
        latencies = read_latencies(prefix)
        for path in glob.glob(prefix + ".*"):
            os.unlink(path)
        return self._figures(latencies, before, after, per_s, spent_s)

    def _figures(self, latencies, before, after, per_s, generator_s):
        done = len(latencies)
        if not done:
            raise measure.Failed("no transaction was done")
        cpu_s, written = after[0] - before[0], after[1] - before[1]
        return {"per_s": per_s, "p50_ms": latencies[done // 2] / 1000, "p99_ms": latencies[done * 99 // 100] / 1000,
                "longest_gap_ms": None, "done": done, "conflicts": 0, "retries": 0, "server_cpu_us": cpu_s / done * 1e6,
                "generator_cpu_us": generator_s / done * 1e6, "written_bytes": written / done,
                "processes": {"generator": {"cpu_s": round(generator_s, 2), "cpu_s_per_1000": generator_s / done * 1000,
                                            "written_bytes_per_operation": 0, "resident_bytes": 0}}}

    def _pgbench(self, load, script, seconds, log_prefix=None):
        """Runs it; returns transactions per second once all were connected, and its processor seconds."""
        seconds += load.clients // CONNECTIONS_PER_S  # it counts the time in which its clients connect
        command = [os.path.join(PROGRAMS, "pgbench"), "-n", "-h", "127.0.0.1", "-p", str(self.ports[0]), "-U", USER, "-f", script,
                   "-c", str(load.clients), "-j", str(min(2, load.clients)), "-T", str(seconds), "-M", "prepared"]
        if log_prefix:
            command += ["-l", f"--log-prefix={log_prefix}"]
        began = os.times()
        said = self._call([*command, "postgres"])
        ended = os.times()
        found = re.search(r"tps = ([\d.]+) \(without initial connection time\)", said)
        return float(found.group(1)) if found else 0.0, ended.children_user + ended.children_system - began.children_user - began.children_system

    def _accounts(self):
        """(processor seconds, bytes written) of all servers: of those that run, and of sessions that have ended."""
        cpu_s, written = 0.0, 0
        for member in self.members:
            main = member.child.pid
            for pid in [main, *children_of(main)]:
                try:
                    cpu_s += whole_cpu_s(pid)
                    written += measure.account(pid)["written_bytes"]
                except FileNotFoundError:  # ended meanwhile; its parent has the account
                    pass
        return cpu_s, written


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def whole_cpu_s(pid):
    """Of a process, and of its children that have ended."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / measure.TICKS_PER_S


def read_latencies(prefix):
    """Sorted, in microseconds, from pgbench's logs: client, transaction, time, script, epoch, microseconds."""
    values = []
    for path in glob.glob(prefix + ".*"):
        with open(path, encoding="ascii") as file:
            values.extend(int(line.split()[2]) for line in file)
    return sorted(values)


def script_of(load, settings):
    """pgbench's script for a load of the comparison."""
    if load.workload == "put":
        value = "x" * option(load, "--value-bytes")
        return (f"\\set key random(0, {settings.keys - 1})\n"
                f"insert into kv values (:key, '{value}') on conflict (key) do update set value = excluded.value;\n")
    if load.workload == "get":
        return f"\\set key random(0, {settings.keys - 1})\nselect value from kv where key = :key;\n"
    issuers, zipf = option(load, "--issuers"), option(load, "--zipf", float)
    drawn = f"random_zipfian(1, {issuers}, {max(zipf, ZIPF_MIN)})" if zipf else f"random(1, {issuers})"
    return f"\\set issuer {drawn}\nselect reserve(:issuer, 1);\n"


def option(load, name, kind=int):
    return kind(load.options[load.options.index(name) + 1])


def version():
    done = subprocess.run([os.path.join(PROGRAMS, "postgres"), "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d[\d.]*", done.stdout)
    return found.group() if found else "?"


def available():
    return os.access(os.path.join(PROGRAMS, "postgres"), os.X_OK)
