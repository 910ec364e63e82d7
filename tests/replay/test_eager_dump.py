"""Eager ops of a debug dump, and dumps that are made to cost time: written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from forensics.cli.exit_codes import exit_code
from forensics.detectors.scenes import curve, falling, origin, run_of
from forensics.domain.replay import ReplayResult, ReplayStatus
from forensics.pipeline.analysis import analyze_run
from forensics.replay.eager_dump import EagerHealth
from forensics.replay.worker.localising.dumped_health import BAD, MAX_BIRTHS, DumpedHealth
from forensics.replay.worker.localising.graph_health import Node, reached
from forensics.report.html import render_html
from forensics.report.terminal import render_terminal
from forensics.sources.debug_dump import MAX_WARNINGS, DebugDump, DumpedCall, read_debug_dump
from forensics.sources.storage.place import Directory
from tests.sources.event_writer import record


def call(kind: str, inputs: tuple[int, ...], output: int | None, bad: bool = False) -> DumpedCall:
    outputs = () if output is None else (output,)
    return DumpedCall(kind, "", inputs, outputs, (bad,) if outputs else (), (kind,))


def step(first: int, mask: bool = True, log: bool = False) -> list[DumpedCall]:
    masked, logged, gradient = first, first + 1, first + 2
    return [
        call("SelectV2", (1,), masked, mask),
        call("Exp", (masked,), logged),
        call("Log", (2,), logged, log),
        call("Mul", (logged,), gradient, log),
        call("AssignSubVariableOp", (0, gradient), None),
    ]


def test_a_mask_that_no_variable_takes_is_no_failure() -> None:
    health = EagerHealth(DebugDump("d", calls=[*step(10), *step(20)]))
    assert health.births == []
    assert [c.op_type for c in health.harmless()] == ["SelectV2"]


def test_what_a_variable_takes_is_followed_to_where_it_was_made() -> None:
    health = EagerHealth(DebugDump("d", calls=[*step(10), *step(20, log=True)]))
    assert health.births == [7]
    assert health.chain() == ("Log", "Mul", "AssignSubVariableOp")


def test_the_first_value_of_a_variable_may_be_infinite() -> None:
    calls = [
        call("VarHandleOp", (), 5), call("Fill", (1,), 6, True),
        call("AssignVariableOp", (5, 6), None),
    ]  # fmt: skip
    assert EagerHealth(DebugDump("d", calls=calls)).births == []
    again = [*calls, call("AssignVariableOp", (5, 6), None)]
    assert EagerHealth(DebugDump("d", calls=again)).births == [1]


def test_what_was_read_is_neither_dated_nor_called_reproduced() -> None:
    answer = ReplayResult(
        ReplayStatus.NOT_RUN, "read", origin=origin("Log"), source="debug_dump", symptom="state"
    )
    run = run_of(curve(falling(30)))
    report = analyze_run(run, lambda _: None, lambda _: answer)
    verdict = report.verdict
    assert (verdict["status"], verdict["first_bad_step"]) == ("failed", None)
    assert verdict["grade"] != "reproduced"
    assert "debug dump" in verdict["headline"] and "loss stayed finite" in verdict["headline"]
    assert "debug dump of the run" in render_terminal(report, width=200)
    assert "nothing was run again" in render_html(report)
    values = [*falling(26), *[float(np.nan)] * 4]
    dated = analyze_run(run_of(curve(values)), lambda _: None, lambda _: answer).verdict
    assert dated["first_bad_step"] == 26


def test_a_long_way_is_walked_once() -> None:
    count = 20_000
    nodes = [Node(f"a{i}", "Mul", [(f"a{i - 1}", 0)] if i else []) for i in range(count)]
    way = reached(nodes, {(f"a{i}", 0): BAD for i in range(count)}, "a0", frozenset(["a19999"]))
    assert way == [f"a{i}" for i in range(count)]


def test_more_births_than_are_followed_are_told() -> None:
    health, count = DumpedHealth(), MAX_BIRTHS + 5
    health.add_graph("g", [Node(f"log{i}", "Log", []) for i in range(count)], None)
    for i in range(count):
        health.add(("g", f"log{i}", 0), BAD, i)
    assert len(health.births()) == MAX_BIRTHS and health.capped


def test_damaged_records_are_told_up_to_a_limit(tmp_path: Path) -> None:
    name = "tfdbg_events.1.vm.execution"
    (tmp_path / name).write_bytes(record(b"\x4a\x7f") * (MAX_WARNINGS + 30))
    warnings = read_debug_dump(Directory(tmp_path), "tfdbg_events.1.vm", [name]).warnings
    assert len(warnings) == MAX_WARNINGS + 1
    assert warnings[-1].detail == "30 more damaged records are not listed"


def test_a_dump_without_a_bad_value_is_no_refused_replay() -> None:
    answer = ReplayResult(ReplayStatus.NOT_RUN, "no bad value", source="debug_dump")
    report = analyze_run(run_of(curve(falling(30))), lambda _: None, lambda _: answer)
    assert (report.verdict["status"], exit_code(report, "error")) == ("healthy", 0)
