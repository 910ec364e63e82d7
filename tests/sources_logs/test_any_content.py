"""Nothing that a log may hold makes a reader raise, hang or invent numbers."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from re._constants import (  # type: ignore[import-not-found]
    MAX_REPEAT,
    MAXREPEAT,
    MIN_REPEAT,
)
from re._parser import SubPattern, parse  # type: ignore[import-not-found]
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.domain.run import Run
from forensics.errors import NothingToAnalyze
from forensics.sources import logs
from forensics.sources.logdir import read
from forensics.sources.logs.channels import channel_of
from forensics.sources.logs.keras_progress import KerasProgress
from forensics.sources.logs.loop_lines import LoopLines
from forensics.sources.logs.numbers import number
from forensics.sources.logs.text_lines import Lines, encoding_of, lines_of
from tests.damage.mutations import mutated
from tests.sources_logs.logs_of import DATA

WORDS = [
    "Epoch 1/3", "Epoch 2/3", " 1/10 ", "10/10", "3/Unknown", " - loss: ", " - ETA: 1s", "nan",
    "1.5", "step", "loss", "=", ":", " ", "\r", "\n", "\b\b", "\x1b[1m", "| ", "1e999", "-",
    "{'loss': 1.0, 'epoch': 0.5}", "Batch 3: Invalid loss, terminating training", "0: ", "\0",
    "50%|##| 5/10 [", "Validating:", "[1,0]<stdout>:", "epoch", "lr", "9" * 30, "\u2501",
    "Train on 10 samples",
]  # fmt: skip
TEXT = st.one_of(st.text(max_size=300), st.lists(st.sampled_from(WORDS), max_size=60).map("".join))
FILES = [
    "keras3_terminated.out", "keras2_verbose1.out", "keras3_logger.csv", "trainer_state.json",
    "keras3_history.json", "version_0/metrics.csv", "run-offline.wandb", "transformers_printed.out",
]  # fmt: skip


@given(TEXT)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read(text: str) -> None:
    keras, loop = KerasProgress(), LoopLines()
    for line in lines_of(text):
        _, rest = channel_of(line)
        if not keras.line(rest):
            loop.line(rest)
    keras.finish()
    curves = [c for training in keras.trainings for c in training.curves()] + loop.curves()
    for curve in curves:
        assert len(curve.steps) == len(curve.values) == len(curve.wall_times)
        assert min(curve.steps, default=0) >= 0


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
@settings(max_examples=200, deadline=None)
def test_pieces_do_not_matter(data: bytes, cuts: list[int]) -> None:
    encoding = encoding_of(data)
    whole, parted = Lines(encoding), Lines(encoding)
    expected = [*whole.feed(data), *whole.finish()]
    ends = sorted({0, len(data), *(c for c in cuts if c <= len(data))})
    found = [line for a, b in pairwise(ends) for line in parted.feed(data[a:b])]
    assert "".join([*found, *parted.finish()]) == "".join(expected)


@given(st.floats())
def test_numbers_are_those_that_were_written(value: float) -> None:
    assert number(repr(value)) == value or (value != value and number(repr(value)) != value)


def _read(path: Path) -> Run | None:
    try:
        return read(path)
    except NothingToAnalyze:
        return None


@pytest.mark.parametrize("name", FILES)
def test_mutants(tmp_path: Path, name: str) -> None:
    original = (DATA / name).read_bytes()
    path = tmp_path / Path(name).name
    for seed in range(60):
        path.write_bytes(mutated(original, f"{name}-{seed}")[0])
        run = _read(path)
        if run is not None:
            assert run.inputs


def test_with_checksums_nothing_is_invented(tmp_path: Path) -> None:
    """What a damaged file of W&B gives is among what the whole one gives."""
    name = "run-offline.wandb"
    original, path = (DATA / name).read_bytes(), tmp_path / name
    known = {s.tag: set(_pairs(s.steps, s.values)) for s in read(DATA / name).series}
    for seed in range(150):
        path.write_bytes(mutated(original, str(seed))[0])
        run = _read(path)
        for found in run.series if run is not None else ():
            assert set(_pairs(found.steps, found.values)) <= known[found.tag]


def _pairs(steps: np.ndarray, values: np.ndarray) -> list[tuple[int, str]]:
    return [(int(s), repr(float(v))) for s, v in zip(steps, values, strict=True)]


@pytest.mark.parametrize("name", ["keras3_verbose1.out", "keras3_logger.csv", "trainer_state.json"])
def test_every_prefix_gives_a_beginning(tmp_path: Path, name: str) -> None:
    """A log that is cut anywhere holds no number that the whole one does not hold."""
    original, path = (DATA / name).read_bytes(), tmp_path / name
    known = {s.tag: _pairs(s.steps, s.values) for s in read(DATA / name).series}
    for end in range(0, len(original), 17):
        path.write_bytes(original[:end])
        run = _read(path)
        for found in run.series if run is not None else ():
            if found.tag in known:
                assert set(_pairs(found.steps, found.values)) <= set(known[found.tag])


EVIL: list[Callable[[int], str]] = [
    lambda n: "loss " * (n // 5),
    lambda n: "1" * n + " loss step 1",
    lambda n: "loss at step " * (n // 13),
    lambda n: "step 1 loss " + "9" * n,
    lambda n: "step 1 " + "tensor(" * (n // 7) + "loss",
    lambda n: "1/1 " + " - a: " * (n // 6) + " 1s",
    lambda n: "%|" * (n // 2) + " loss",
    lambda n: "\x1b[" * (n // 2) + "loss",
    lambda n: "train " * (n // 12) + "loss " * (n // 10),
    lambda n: "epoch[ " * (n // 7) + " loss",
    lambda n: "step 1 loss " + "a.b/c_" * (n // 6),
    lambda n: "2024-01-01 00:00:00" + " " * n,
]


@pytest.mark.parametrize("evil", EVIL)
def test_lines_made_to_be_slow(evil: Callable[[int], str]) -> None:
    """They end, and tell next to nothing."""
    line = evil(8000)
    loop, keras = LoopLines(), KerasProgress()
    for _ in range(20):
        _, rest = channel_of(next(iter(lines_of(line))))
        if not keras.line(rest):
            loop.line(rest)
    keras.finish()
    assert all(len(c.steps) <= 20 for c in loop.curves())


def _unbounded(tree: Any, last: bool = True) -> bool:
    """Whether something is repeated without bound and may be tried again.

    One class of characters at the very end is not: nothing comes after it that could fail.
    """
    for index, (kind, argument) in enumerate(tree):
        at_end = last and index == len(tree) - 1
        if kind in (MAX_REPEAT, MIN_REPEAT):
            _, most, inner = argument
            if most == MAXREPEAT and not (at_end and len(inner) == 1):
                return True
            if _unbounded(inner, False):
                return True
        parts = argument if isinstance(argument, tuple | list) else [argument]
        for part in parts:
            for inner in part if isinstance(part, list) else [part]:
                if isinstance(inner, SubPattern) and _unbounded(inner, at_end):
                    return True
    return False


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(logs.__path__)])
def test_no_pattern_repeats_without_bound(module: str) -> None:
    """Each repetition is bounded, possessive, or one class at the end, so that time is linear."""
    found = vars(importlib.import_module(f"forensics.sources.logs.{module}"))
    names = {"_TEXT", "_PERHAPS"}  # matched against names of files, which are short
    for name, pattern in found.items():
        if isinstance(pattern, re.Pattern) and name not in names:
            assert not _unbounded(parse(pattern.pattern, pattern.flags)), name


def test_the_check_of_patterns_finds_what_it_should() -> None:
    assert _unbounded(parse(r"(a+)b"))
    assert _unbounded(parse(r"(?:x|a*?b)c"))
    assert not _unbounded(parse(r"a++b{1,3}[cd]+"))
