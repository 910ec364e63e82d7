"""The child can do what it likes: the parent gets a result, and nothing of it is left."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forensics.domain.replay import ReplayResult, ReplayStatus
from forensics.domain.run import Run
from forensics.replay.request import ReplayRequest
from forensics.replay.runner import run_replay
from forensics.replay.sandbox import child
from tests.replay.conftest import Clock

posix_only = pytest.mark.skipif(os.name != "posix", reason="process groups")

REPRODUCED = '{"status": "reproduced", "step": 7, "reason": "", "symptom": "loss"}'

Replay = Callable[..., ReplayResult]


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """Run a replay with a stand-in for the worker."""

    def run(
        script: str, timeout: float = 60.0, progress: Callable[[str], None] = lambda line: None
    ) -> ReplayResult:
        worker = tmp_path / "worker.py"
        worker.write_text("import os, sys, time\n" + textwrap.dedent(script))
        monkeypatch.setattr(child, "WORKER", worker)
        program = tmp_path / "train.py"
        program.touch()
        request = ReplayRequest(Run("r", str(tmp_path), ()), f"{program}:case", timeout=timeout)
        return run_replay(request, progress)

    return run


def gone(pid: int) -> bool:
    """Whether a process ends (a killed one may still have to be reaped by another)."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_an_answer_is_read_and_progress_is_passed_on(replay: Replay) -> None:
    lines: list[str] = []
    result = replay(
        f"""
        print('{{"progress": "half way"}}')
        print('{{"answer": {REPRODUCED}}}')
        """,
        progress=lines.append,
    )
    assert (result.status, result.step) == (ReplayStatus.REPRODUCED, 7)
    assert lines == ["half way"]


def test_a_child_that_goes_on_after_its_answer_is_ended(replay: Replay) -> None:
    result = replay(f"""
        print('{{"answer": {REPRODUCED}}}', flush=True)
        time.sleep(600)
    """)
    assert result.status is ReplayStatus.REPRODUCED


@posix_only
def test_a_child_that_hangs_is_killed_with_its_own_children(
    replay: Replay, tmp_path: Path, clock: Clock
) -> None:
    lines: list[str] = []
    clock.passed = lambda: bool(lines)
    result = replay(
        f"""
        import subprocess
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open({str(tmp_path / "pids")!r}, "w").write(f"{{os.getpid()}} {{other.pid}}")
        print('{{"progress": "started"}}', flush=True)
        time.sleep(600)
        """,
        progress=lines.append,
    )
    assert result.status is ReplayStatus.CRASHED
    assert "stopped after 60 s" in result.reason
    pids = [int(p) for p in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    assert all(map(gone, pids))


@posix_only
def test_what_a_child_leaves_behind_is_ended_and_does_not_hold_the_parent_up(
    replay: Replay, tmp_path: Path
) -> None:
    result = replay(
        f"""
        pid = os.fork()
        if pid == 0:
            time.sleep(600)
        open({str(tmp_path / "pid")!r}, "w").write(str(pid))
        print('{{"answer": {REPRODUCED}}}', flush=True)
        os._exit(0)
        """
    )
    assert result.status is ReplayStatus.REPRODUCED
    assert gone(int((tmp_path / "pid").read_text()))


@posix_only
def test_a_pipe_held_open_from_another_session_does_not_hold_the_parent_up(
    replay: Replay, tmp_path: Path
) -> None:
    result = replay(
        f"""
        pid = os.fork()
        if pid == 0:
            os.setsid()
            open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
            time.sleep(30)
            os._exit(0)
        while not os.path.exists({str(tmp_path / "pid")!r}):
            time.sleep(0.01)
        os._exit(3)
        """
    )
    assert "exit code 3" in result.reason
    pid = int((tmp_path / "pid").read_text())
    if sys.platform == "linux":
        assert gone(pid)
    else:
        os.kill(pid, 9)


@posix_only
@pytest.mark.parametrize("number", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_a_child_that_dies_by_a_signal_is_named(replay: Replay, number: str) -> None:
    result = replay(f"import signal; os.kill(os.getpid(), signal.{number})")
    assert result.status is ReplayStatus.CRASHED
    assert number in result.reason


def test_a_child_that_says_nothing_is_no_answer(replay: Replay) -> None:
    assert "exit code 0" in replay("pass").reason
    result = replay("sys.exit('no TensorFlow here')")
    assert result.status is ReplayStatus.CRASHED
    assert "exit code 1" in result.reason and "no TensorFlow here" in result.reason


def test_garbage_is_passed_over(replay: Replay) -> None:
    result = replay(f"""
        out = sys.stdout.buffer
        out.write(b"\\xff\\xfe not json\\n[1]\\n5\\nnull\\n" + b"[" * 100000 + b"\\n\\n")
        out.write(b'{{"progress": 5, "answer": [1], "partial": "x"}}\\n')
        print('{{"answer": {REPRODUCED}}}')
    """)
    assert result.status is ReplayStatus.REPRODUCED


def test_an_answer_of_the_wrong_shape_is_no_answer(replay: Replay) -> None:
    result = replay("""print('{"answer": {"status": "wonderful"}}')""")
    assert result.status is ReplayStatus.CRASHED
    assert "not well-formed" in result.reason


@pytest.mark.parametrize("piece", ["b'x' * 65536", "b'x' * 65535 + bytes([10])"])
def test_a_flood_is_cut_off(replay: Replay, monkeypatch: pytest.MonkeyPatch, piece: str) -> None:
    monkeypatch.setattr(child, "MAX_ANSWER_BYTES", 1 << 20)
    result = replay(f"""
        while True:
            sys.stdout.buffer.write({piece})
    """)
    assert result.status is ReplayStatus.CRASHED
    assert "more than it may" in result.reason


def test_a_flood_of_errors_is_drained_and_its_end_kept(replay: Replay) -> None:
    result = replay("""
        for _ in range(2000):
            sys.stderr.write("x" * 10000)
        sys.stderr.write("\\nthe end")
        sys.exit(4)
    """)
    assert "exit code 4" in result.reason and result.reason.endswith("the end")


@posix_only
def test_what_was_reproduced_before_the_end_is_kept(replay: Replay) -> None:
    result = replay(f"""
        print('{{"partial": {REPRODUCED}}}', flush=True)
        os.abort()
    """)
    assert (result.status, result.step) == (ReplayStatus.REPRODUCED, 7)
    assert "SIGABRT" in result.reason and "kept" in result.reason


def test_what_was_reproduced_before_the_deadline_is_kept(replay: Replay, clock: Clock) -> None:
    lines: list[str] = []
    clock.passed = lambda: bool(lines)
    result = replay(
        f"""
        print('{{"partial": {REPRODUCED}}}', flush=True)
        print('{{"progress": "on to more"}}', flush=True)
        time.sleep(600)
        """,
        progress=lines.append,
    )
    assert result.status is ReplayStatus.REPRODUCED
    assert "stopped after 60 s" in result.reason


def test_a_partial_answer_without_a_reproduction_is_not_kept(replay: Replay) -> None:
    result = replay("""print('{"partial": {"status": "not_reproduced", "step": 3}}')""")
    assert result.status is ReplayStatus.CRASHED


def test_an_interrupt_of_the_parent_ends_the_child(replay: Replay, tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(
            f"""
            open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
            print('{{"progress": "go"}}', flush=True)
            time.sleep(600)
            """,
            progress=interrupt,
        )
    assert gone(int((tmp_path / "pid").read_text()))


def test_the_child_is_isolated_and_has_a_folder_of_its_own(
    replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    lines: list[str] = []
    replay(
        """
        import json, tempfile
        told = f"{sys.flags.isolated} {sys.flags.dont_write_bytecode} {tempfile.gettempdir()}"
        print(json.dumps({"progress": told}))
        """,
        progress=lines.append,
    )
    isolated, no_bytecode, folder = lines[0].split(" ", 2)
    assert (isolated, no_bytecode) == ("1", "1")
    assert "forensics-replay-" in folder
    assert not Path(folder).exists()
