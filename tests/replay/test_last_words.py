"""What is kept of a process's output, and how its memory is counted and limited."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.replay.sandbox import family, memory_watch
from forensics.replay.sandbox.last_words import LINES, WIDTH, last_words
from forensics.replay.sandbox.memory_watch import MemoryWatch, default_limit, in_gigabytes

SLEEPER = "import time; held = bytearray(b'x' * (64 << 20)); print('ready', flush=True); "
FORKER = SLEEPER + "import os; os.fork(); time.sleep(600)"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def test_the_last_lines_are_kept_and_noise_is_left_out() -> None:
    output = "\n".join(
        [
            *(f"line {number}" for number in range(20)),
            "2026-01-01 10:00:00.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This",
            "To enable the following instructions: AVX2, in other operations, rebuild TensorFlow",
            "WARNING: All log messages before absl::InitializeLog() is called go to STDERR",
            "I0000 00:00:1700000000.000000 1 gpu_device.cc:2022] Created device",
            "2026-01-01 10:00:00.123456: F tensorflow/core/x.cc:1] Check failed: a == b",
            "",
        ]
    )
    kept = last_words(output).split(" | ")
    assert len(kept) == LINES
    assert kept[0] == "line 16"
    assert kept[-1].endswith("Check failed: a == b")


def test_escapes_and_controls_are_taken_out() -> None:
    assert last_words("\x1b[31mred\x1b[0m\a and \x1b[2Jblank\u202e") == "red and blank"


def test_of_a_fatal_error_the_innermost_frames_are_kept() -> None:
    output = """something before
Fatal Python error: Segmentation fault

Thread 0x00007f0000000001 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait

Current thread 0x00007f0000000000 (most recent call first):
  File "/home/me/train.py", line 12 in broken
  File "/home/me/train.py", line 20 in step
  File "/a/worker/entry.py", line 80 in load_case
  File "/a/worker/session.py", line 30 in main
  File "<string>", line 1 in <module>

Extension modules: numpy._core, h5py (total: 2)
"""
    kept = last_words(output).split(" | ")
    assert kept == [
        "Fatal Python error: Segmentation fault",
        "in broken (train.py, line 12)",
        "in step (train.py, line 20)",
        "in load_case (entry.py, line 80)",
        "in main (session.py, line 30)",
    ]


@given(st.text(max_size=2000))
def test_any_output_becomes_one_short_printable_line(output: str) -> None:
    said = last_words(output)
    assert "\n" not in said and "\r" not in said and "\x1b" not in said
    assert len(said) <= LINES * (WIDTH + 3)


def started(program: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"ready"
    return process


@linux_only
def test_the_memory_of_a_family_is_seen_and_shared_pages_are_counted_once() -> None:
    process = started(FORKER)
    try:
        while not family.descendants(process.pid):
            time.sleep(0.01)
        assert family.resident(process.pid) >= 2 * (64 << 20)
        assert 64 << 20 <= family.exact(process.pid) < 2 * (64 << 20)
    finally:
        assert family.end_descendants(process.pid) == []
        process.kill()
        process.communicate()


@linux_only
def test_the_watch_ends_what_takes_too_much_and_leaves_the_rest_alone() -> None:
    process = started(SLEEPER + "time.sleep(600)")
    ended = threading.Event()
    try:
        small = MemoryWatch(process.pid, 32 << 20, ended.set)
        large = MemoryWatch(process.pid, 32 << 30, lambda: None)
        small.start()
        large.start()
        assert ended.wait(30)
        small.stop()
        large.stop()
    finally:
        process.kill()
        process.communicate()
    assert small.exceeded and small.peak > 32 << 20
    assert small.describe() == f"{in_gigabytes(small.peak)} of 0.0 GB"
    assert not large.exceeded


def test_the_limit_is_a_share_of_the_smallest_of_machine_and_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlimited, limited, numberless = (tmp_path / name for name in ("a", "b", "c"))
    unlimited.write_text("9223372036854771712\n")
    limited.write_text("1000000\n")
    numberless.write_text("max\n")
    monkeypatch.setattr(memory_watch, "_machine", lambda: 4_000_000)
    files = [unlimited, numberless, tmp_path / "missing"]
    monkeypatch.setattr(memory_watch, "_limit_files", lambda: iter(files))
    assert default_limit() == 3_200_000
    files.append(limited)
    assert default_limit() == 800_000


def test_where_nothing_tells_the_size_there_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_watch, "_machine", lambda: None)
    monkeypatch.setattr(memory_watch, "_limit_files", lambda: iter(()))
    assert default_limit() is None
