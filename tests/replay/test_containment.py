"""Programs that misbehave, in the real worker: each becomes a result that says what happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from forensics.domain.replay import ReplayResult, ReplayStatus
from forensics.domain.run import Run
from forensics.replay.request import ReplayOptions, ReplayRequest
from forensics.replay.runner import run_replay
from forensics.replay.sandbox.containment import Containment, is_foreign
from forensics.replay.source import SourceKind
from tests.replay.conftest import Clock
from tests.replay.replaying import PROGRAMS
from tests.replay.test_child import gone

pytestmark = pytest.mark.skipif(os.name != "posix", reason="process groups and signals")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
GIGABYTE = 1 << 30


def misbehave(function: str, timeout: float = 60.0, memory: int | None = None) -> ReplayResult:
    request = ReplayRequest(
        Run("r", "/nowhere", ()),
        f"{PROGRAMS / 'misbehaving.py'}:{function}",
        device="cpu",
        timeout=timeout,
        options=ReplayOptions(memory=memory),
    )
    return run_replay(request, lambda line: None)


def crashed(result: ReplayResult) -> str:
    assert result.status is ReplayStatus.CRASHED
    return result.reason


def test_a_program_that_leaves_at_once() -> None:
    reason = crashed(misbehave("leaves_at_once"))
    assert "exit code 7" in reason
    assert reason.endswith("about to leave")


def test_a_segmentation_fault_is_named_with_its_python_stack() -> None:
    reason = crashed(misbehave("segfault"))
    assert "SIGSEGV" in reason
    assert "Segmentation fault" in reason
    assert "in segfault (misbehaving.py, line " in reason


@pytest.mark.parametrize("function", ["sleeps", "loops_in_c", "ignores_signals"])
def test_a_program_that_does_not_end_is_ended(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    reached = tmp_path / "reached"
    monkeypatch.setenv("TEST_REACHED", str(reached))
    clock.passed = reached.exists
    reason = crashed(misbehave(function, timeout=600.0))
    assert reached.exists()
    assert "stopped after 600 s" in reason
    # what it said last is kept
    assert reason.endswith("sleeping") is (function == "sleeps")


@linux_only
def test_a_program_that_takes_all_memory_is_ended() -> None:
    result = misbehave("takes_memory", memory=GIGABYTE // 2)
    assert "ran out of memory: " in crashed(result)
    assert " of 0.5 GB" in result.reason
    assert "memory limit of 0.5 GB" in result.sandbox


def test_a_flood_of_output_and_a_forged_answer() -> None:
    reason = crashed(misbehave("floods"))
    assert "exit code 4" in reason
    assert reason.endswith("the end of it")


def test_closed_streams_do_not_cut_the_wire() -> None:
    result = misbehave("closes_its_streams")
    assert result.status is ReplayStatus.NOT_RUN
    assert "after closing" in result.reason


def test_stdin_is_empty() -> None:
    result = misbehave("reads_stdin")
    assert "read '' and b''" in result.reason


def test_a_program_that_kills_its_own_group() -> None:
    assert "SIGKILL" in crashed(misbehave("kills_its_group"))


@linux_only
def test_nothing_that_was_started_outlives_the_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    monkeypatch.setenv("TEST_PIDS", str(pids))
    result = misbehave("leaves_processes_and_threads")
    assert "left all behind" in result.reason
    started = [int(word) for word in pids.read_text().split()]
    assert len(started) == 2
    assert all(map(gone, started))
    assert "supervisor that ends all descendants" in result.sandbox


@linux_only
def test_a_process_that_is_never_where_it_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = f"TEST_RUNNER=of {os.getpid()}"
    monkeypatch.setenv(*mark.split("=", 1))
    result = misbehave("moves_on")
    assert "left a runner behind" in result.reason
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    assert set(found) <= {os.getpid()}


PARENT = """
import signal, sys
# a shell's background job ignores it, and so would this process
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {root!r})
from forensics.domain.run import Run
from forensics.replay.request import ReplayRequest
from forensics.replay.runner import run_replay
from forensics.replay.source import SourceKind
run_replay(ReplayRequest(Run("r", "/nowhere", ()), {entry!r}, device="cpu"), print)
"""


@linux_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_orphan_when_the_parent_is_interrupted_or_killed(tmp_path: Path, number: int) -> None:
    told = tmp_path / "pid"
    program = tmp_path / "train.py"
    program.write_text(
        textwrap.dedent(f"""
            import os, time
            def case():
                with open({str(told)!r} + ".new", "w") as file:
                    file.write(str(os.getpid()))
                os.rename({str(told)!r} + ".new", {str(told)!r})
                time.sleep(600)
        """)
    )
    root = str(Path(__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(root=root, entry=f"{program}:case")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for(told.exists)
    parent.send_signal(number)
    parent.wait(30)
    assert gone(int(told.read_text()))


def _wait_for(happened: Callable[[], bool]) -> None:
    for _ in range(600):
        if happened():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_the_report_lists_what_holds_and_what_does_not() -> None:
    result = misbehave("leaves_at_once")
    assert result.sandbox[:3] == (
        "child process",
        "isolated interpreter",
        "private temporary folder",
    )
    assert "deadline of 60 s" in result.sandbox
    assert result.sandbox[-1].startswith("missing: network and files stay open")


def test_without_a_launcher_its_walls_are_said_to_be_missing() -> None:
    layers = Containment(foreign=True).layers(None)
    assert "missing: no network" in layers
    assert "missing: no writing outside the temporary folder" in layers
    assert "missing: process group" in layers


def test_foreign_is_everything_but_a_program_that_the_caller_named() -> None:
    assert [kind for kind in SourceKind if not is_foreign(kind)] == [SourceKind.ENTRY_POINT]


def test_a_foreign_program_gets_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_SECRET_KEY", "x")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    foreign = Containment(foreign=True).environment("/private")
    assert "CLOUD_SECRET_KEY" not in foreign
    assert foreign["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert foreign["TMPDIR"] == "/private"
    assert Containment().environment("/private")["CLOUD_SECRET_KEY"] == "x"
