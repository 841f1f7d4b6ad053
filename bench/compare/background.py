"""Other work on the machine: what a cluster shares its processors with where people work.

One compute loop per processor at nice 15: it takes what nobody else wants, and gives way, slowly, to everybody.
"""

import contextlib
import os
import subprocess
import sys

import cluster

NICE = 15
# At that priority, or at its parent's if that gives way even more: nobody but root may go back.
LOOP = """
import os, sys
me = os.PRIO_PROCESS, 0
os.setpriority(*me, max(int(sys.argv[1]), os.getpriority(*me)))
while True:
    pass
"""
SUFFIX = "+neighbours"  # of a system's name, in pieces and figures that were made beside the load


@contextlib.contextmanager
def load(wanted=True, loops=None, nice=NICE):
    """Runs the loops for as long as the context lasts."""
    loops = (loops or os.cpu_count()) if wanted else 0
    children = [subprocess.Popen([sys.executable, "-c", LOOP, str(nice)], stdin=subprocess.DEVNULL,
                                 preexec_fn=cluster._die_with_parent) for _ in range(loops)]
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait()


def only_beside(rounds):
    """The figures that were made beside the load, under the systems' own names."""
    return [{name.removesuffix(SUFFIX): figures for name, figures in one_round.items() if name.endswith(SUFFIX)}
            for one_round in rounds]
