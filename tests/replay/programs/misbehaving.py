"""Programs that take the process with them, each in a way of its own. None needs TensorFlow."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def reached() -> None:
    """Tell the test that the program is where it stays."""
    Path(os.environ["TEST_REACHED"]).touch()


def leaves_at_once() -> None:
    print("about to leave")  # noqa: T201
    sys.stdout.flush()
    os._exit(7)


def segfault() -> None:
    ctypes.string_at(0)


def sleeps() -> None:
    print("sleeping")  # noqa: T201
    sys.stdout.flush()
    reached()
    time.sleep(600)


def loops_in_c() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    reached()
    sum(range(10**15))


def ignores_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    reached()
    time.sleep(600)


def takes_memory() -> None:
    held = []
    while True:
        held.append(bytearray(os.urandom(1) * (16 << 20)))


def floods() -> None:
    print('{"answer": {"status": "reproduced", "step": 3}}')  # noqa: T201
    os.write(1, b'{"answer": {"status": "reproduced", "step": 3}}\n')
    line = "x" * 4095 + "\n"
    for _ in range(5000):
        sys.stdout.write(line)
        sys.stderr.write(line)
    print("\x1b[31mthe end\x1b[0m of it")  # noqa: T201
    sys.stdout.flush()
    os._exit(4)


def closes_its_streams() -> None:
    os.close(1)
    os.close(0)
    sys.stdout.close()
    raise ValueError("after closing")


def reads_stdin() -> None:
    raise ValueError(f"read {sys.stdin.read()!r} and {os.read(0, 10)!r}")


def kills_its_group() -> None:
    os.killpg(0, signal.SIGKILL)


def leaves_processes_and_threads() -> None:
    """Start a child, a daemon that has left for a session of its own, and a thread; then go on."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    one = subprocess.Popen(SLEEPER)
    if os.fork() == 0:
        os.setsid()
        other = subprocess.Popen(SLEEPER)
        Path(os.environ["TEST_PIDS"]).write_text(f"{one.pid} {other.pid}")
        os._exit(0)
    os.wait()
    raise ValueError("left all behind")


def moves_on() -> None:
    """Leave a process behind that forks and ends, again and again, so that none stays."""
    if os.fork() == 0:
        while os.fork() == 0:
            pass
        os._exit(0)
    time.sleep(0.2)
    raise ValueError("left a runner behind")
