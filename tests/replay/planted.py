"""Programs with a planted defect, localised in this process: what is named against what is true."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forensics.replay.worker.case import entry, restore
from forensics.replay.worker.localising import localise
from forensics.replay.worker.stepping import state, stepper

Program = Callable[[], dict[str, Any]]

STEP = 2
"""The failing step, unless a truth says otherwise; the steps before it are healthy."""


@dataclass(frozen=True)
class Truth:
    """What is wrong with a program.

    ``line`` is a text in the program that only its origin's line has; ``op`` None means the batch;
    ``harmless``: the step does not fail, and no op may be accused.
    """

    op: tuple[str, ...]
    phase: str = "forward"
    layer: str | None = None
    line: str | None = None
    rows: tuple[int, ...] | None = None
    step: int = STEP
    forward_op: str | None = None
    others: tuple[str, ...] = ()
    harmless: bool = False
    named: str | None = None


def plant(*op: str, **truth: Any) -> Callable[[Program], Program]:
    """Attach the truth to a function that returns a case (as a dict)."""

    def attach(program: Program) -> Program:
        program.truth = Truth(op, **truth)  # type: ignore[attr-defined]
        return program

    return attach


def programs(module: Any) -> list[Program]:
    """Find the planted programs of a module, in the order of its source."""
    return [f for f in vars(module).values() if isinstance(getattr(f, "truth", None), Truth)]


def located(program: Program) -> localise.Localised | None:
    """Step to the failing step and localise; None where the program stays healthy."""
    import keras

    keras.backend.clear_session()
    gc.collect()
    keras.utils.set_random_seed(7)
    truth: Truth = program.truth  # type: ignore[attr-defined]
    case = entry.Case(program())
    everything = state.State(case.restore)
    steps = stepper.Stepper(case, everything)
    built = restore.build(case, everything, steps, steps.batch(0))
    everything.load(built)
    healthy, left_over = None, everything.bad()  # by other programs of this process
    with np.errstate(all="ignore"):
        for number in range(truth.step + 1):
            batch, before = steps.batch(number), everything.snapshot()
            bad_before = everything.bad(before)
            outcome = steps.judge(
                steps.own(batch), left_over if number == truth.step else bad_before
            )
            if number == 0:
                before = _with_newborn(everything, before)
            if outcome.symptom is not None or number == truth.step:
                assert number == truth.step, f"step {number} {outcome.describe()}"
                if outcome.symptom is None:
                    assert truth.harmless, "the step stays finite"
                assert outcome.symptom is None or not truth.harmless, outcome.describe()
                found = localise.Localiser(steps, before, batch, healthy).run(outcome)
                everything.load(before)
                return found
            healthy = (before, batch)
    raise AssertionError("unreachable")


def _with_newborn(everything: state.State, before: state.Snapshot) -> state.Snapshot:
    """Add what the first step created: slots start at zero."""
    everything.refresh()
    for variable in everything.variables:
        if variable.key not in before.values:
            value = variable.read()
            before.values[variable.key] = value * 0 if variable.role == state.SLOT else value
    return before


def differences(program: Program, found: localise.Localised | None) -> list[str]:
    """Everything in which the answer differs from the truth."""
    truth: Truth = program.truth  # type: ignore[attr-defined]
    origin = found.origin if found is not None else None
    if truth.harmless:
        return [] if origin is None else [f"accused {origin['op_type']} {origin['layer']}"]
    if found is None or origin is None:
        return ["no origin"]
    wrong = []
    if truth.op and origin["op_type"] not in truth.op:
        wrong.append(f"op {origin['op_type']}, not {truth.op}")
    if origin["phase"] != truth.phase:
        wrong.append(f"phase {origin['phase']}, not {truth.phase}")
    if truth.layer is not None or truth.op:
        named = (origin["layer"] or "").split("/")
        if (truth.layer or "") not in named and truth.layer != "*":
            wrong.append(f"layer {origin['layer']}, not {truth.layer}")
    wrong.extend(_line(program, truth, origin))
    if truth.rows is not None and tuple(found.rows) != truth.rows:
        wrong.append(f"rows {found.rows}, not {truth.rows}")
    if truth.forward_op is not None and origin["forward_op_type"] != truth.forward_op:
        wrong.append(f"forward op {origin['forward_op_type']}, not {truth.forward_op}")
    if truth.named is not None and truth.named not in (origin["op_name"] or ""):
        wrong.append(f"name {origin['op_name']} without {truth.named}")
    others = [o["op_type"] for o in found.others]
    if sorted(map(str, others)) != sorted(truth.others):
        wrong.append(f"others {others}, not {truth.others}")
    if found.trace.troubles:
        wrong.append(f"troubles {found.trace.troubles}")
    return wrong


def _line(program: Program, truth: Truth, origin: dict[str, Any]) -> list[str]:
    if truth.line is None:
        return []
    file = inspect.getsourcefile(program)
    assert file is not None
    hits = [n for n, t in enumerate(Path(file).read_text().splitlines(), 1) if truth.line in t]
    source = origin["source"]
    assert hits, f"no line with {truth.line}"
    if source is None:
        return ["no source line"]
    if source["file"] != Path(file).name or source["line"] not in hits:
        return [f"line {source['file']}:{source['line']} {source['code']!r}, not {hits}"]
    return []
