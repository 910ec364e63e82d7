"""The child's answer, typed.

The child runs other people's code: nothing it says is taken on trust.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from forensics.domain.replay import (
    Attempt,
    BadInput,
    BatchPart,
    BenignOp,
    Blame,
    CheckNumerics,
    LayerObservation,
    Origin,
    Phase,
    Reference,
    ReplayResult,
    ReplayStatus,
    ScannedBatch,
    ScanResult,
    SourceLine,
    StepObservation,
    Trial,
    TrialStatus,
    WhoseBug,
)
from forensics.domain.run import TensorKind, TensorStats

T = TypeVar("T")
_TEXT, _MANY, _SCRIPT = 2000, 1000, 20_000


def read_answer(raw: Mapping[str, Any]) -> ReplayResult:
    """Build a `ReplayResult`; an answer of the wrong shape becomes one with status ``crashed``."""
    try:
        return _result(raw)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        why = f"the replay's answer is not well-formed ({type(error).__name__}: {error})"
        return ReplayResult(status=ReplayStatus.CRASHED, reason=why)


def _result(raw: Mapping[str, Any]) -> ReplayResult:
    status = ReplayStatus(raw["status"])
    if status is ReplayStatus.REPRODUCED and raw.get("step") is None:
        raise ValueError("reproduced, but at no step")
    return ReplayResult(
        status=status,
        reason=_text(raw.get("reason") or ""),
        device=_maybe(raw.get("device"), _text),
        step=_maybe(raw.get("step"), _count),
        started_from=_maybe(raw.get("started_from"), _text),
        attempts=_all(raw.get("attempts"), _attempt),
        determinism=_word(raw.get("determinism") or "none", "bitwise", "tolerance", "none"),
        unreplayable_ops=_all(raw.get("unreplayable_ops"), _text),
        origin=_maybe(raw.get("origin"), _origin),
        other_origins=_all(raw.get("other_origins"), _origin),
        benign=_all(raw.get("benign"), _benign),
        chain=_all(raw.get("chain"), _text),
        check_numerics=_maybe(raw.get("check_numerics"), _numerics),
        samples=_all(raw.get("samples"), _count),
        minimal_batch=_all(raw.get("minimal_batch"), _count),
        trials=_all(raw.get("trials"), _trial),
        observation=_maybe(raw.get("observation"), _observation),
        config=_plain(raw.get("config") or {}),
        environment=_plain(raw.get("environment") or {}),
        symptom=_maybe(raw.get("symptom"), _text),
        collective=_maybe(raw.get("collective"), _flag),
        culprits=_all(raw.get("culprits"), _ints),
        row_notes=_all(raw.get("row_notes"), _text),
        whose_bug=_maybe(raw.get("whose_bug"), _whose_bug),
        scan=_maybe(raw.get("scan"), _scan),
        source=_maybe(raw.get("source"), _text),
        instrument=_maybe(raw.get("instrument"), _text),
        degradations=_all(raw.get("degradations"), _text),
        reproducer=_maybe(raw.get("reproducer"), _text),
        reproducer_script=_maybe(raw.get("reproducer_script"), _script),
    )


def _attempt(raw: Mapping[str, Any]) -> Attempt:
    return Attempt(
        mode=_text(raw["mode"]),
        device=_text(raw["device"]),
        seed=_maybe(raw.get("seed"), _count),
        outcome=_text(raw["outcome"]),
        times_reproduced=_count(raw["times_reproduced"]),
        times_run=_count(raw["times_run"]),
    )


def _origin(raw: Mapping[str, Any]) -> Origin:
    return Origin(
        op_type=_maybe(raw["op_type"], _text),
        op_name=_maybe(raw["op_name"], _text),
        output_slot=_maybe(raw["output_slot"], _count),
        dtype=_maybe(raw["dtype"], _text),
        shape=_maybe(raw["shape"], _ints),
        layer=_maybe(raw["layer"], _text),
        phase=Phase(raw["phase"]),
        input=_maybe(raw.get("input"), lambda v: BadInput(_text(v["name"]), _ints(v["rows"]))),
        raised=_maybe(raw.get("raised"), _text),
        source=_maybe(raw.get("source"), _source),
        forward_op_type=_maybe(raw.get("forward_op_type"), _text),
        inputs=_all(raw.get("inputs"), _stats),
        outputs=_all(raw.get("outputs"), _stats),
    )


def _source(raw: Mapping[str, Any]) -> SourceLine:
    return SourceLine(
        _text(raw["file"]), _count(raw["line"]), _text(raw["function"]), _text(raw["code"])
    )


def _benign(raw: Mapping[str, Any]) -> BenignOp:
    return BenignOp(_text(raw["op_type"]), _text(raw["op_name"]), _text(raw["reason"]))


def _numerics(raw: Mapping[str, Any]) -> CheckNumerics:
    return CheckNumerics(_text(raw["op_type"]), _text(raw["op_name"]), _text(raw["message"]))


def _trial(raw: Mapping[str, Any]) -> Trial:
    return Trial(
        remedy=_text(raw["remedy"]),
        change=_text(raw["change"]),
        status=TrialStatus(raw["status"]),
        baseline=_text(raw["baseline"]),
        steps_survived=_maybe(raw.get("steps_survived"), _count),
        steps_tried=_maybe(raw.get("steps_tried"), _count),
        loss_before=_maybe(raw.get("loss_before"), _number),
        loss_after=_maybe(raw.get("loss_after"), _number),
        rows_dropped=_count(raw.get("rows_dropped") or 0),
    )


def _whose_bug(raw: Mapping[str, Any]) -> WhoseBug:
    return WhoseBug(
        Blame(raw["verdict"]), _text(raw["reason"]), _all(raw.get("references"), _reference)
    )


def _reference(raw: Mapping[str, Any]) -> Reference:
    return Reference(
        _text(raw["engine"]), _maybe(raw.get("finite"), _flag), _text(raw.get("detail") or "")
    )


def _scan(raw: Mapping[str, Any]) -> ScanResult:
    return ScanResult(
        started_from=_maybe(raw.get("started_from"), _text),
        batches=_count(raw["batches"]),
        complete=_flag(raw["complete"]),
        ranked=_all(raw.get("ranked"), _scanned),
        reruns=_count(raw.get("reruns") or 0),
        reproduced=_count(raw.get("reproduced") or 0),
    )


def _scanned(raw: Mapping[str, Any]) -> ScannedBatch:
    return ScannedBatch(
        batch=_count(raw["batch"]),
        loss=_maybe(raw.get("loss"), _number),
        gradient_norm=_maybe(raw.get("gradient_norm"), _number),
        non_finite=_flag(raw["non_finite"]),
        rows=_ints(raw.get("rows")),
    )


def _observation(raw: Mapping[str, Any]) -> StepObservation:
    return StepObservation(
        step=_count(raw["step"]),
        loss=_maybe(raw.get("loss"), _number),
        layers=_all(raw.get("layers"), _layer),
        batch=_all(raw.get("batch"), _part),
        first_step_of_run=bool(raw.get("first_step_of_run")),
    )


def _layer(raw: Mapping[str, Any]) -> LayerObservation:
    numbers = (
        "gradient_norm",
        "weight_norm",
        "update_ratio",
        "activation_mean",
        "activation_std",
        "zero_fraction",
        "saturated_fraction",
        "activation_max",
        "kernel_std",
    )
    return LayerObservation(
        name=_text(raw["name"]),
        kind=_maybe(raw.get("kind"), _text),
        activation=_maybe(raw.get("activation"), _text),
        nan=_maybe(raw.get("nan"), _count),
        inf=_maybe(raw.get("inf"), _count),
        fan_in=_maybe(raw.get("fan_in"), _count),
        **{key: _maybe(raw.get(key), _number) for key in numbers},
    )


def _part(raw: Mapping[str, Any]) -> BatchPart:
    return BatchPart(
        name=_text(raw["name"]),
        stats=_stats(raw["stats"]),
        integer=bool(raw["integer"]),
        usual_max_abs=_maybe(raw.get("usual_max_abs"), _number),
        usual_std=_maybe(raw.get("usual_std"), _number),
        column_spread=_maybe(raw.get("column_spread"), _number),
        bad_rows=_all(raw.get("bad_rows"), _count),
        max_row=_maybe(raw.get("max_row"), _count),
    )


def _stats(raw: Mapping[str, Any]) -> TensorStats:
    return TensorStats(
        name=_text(raw["name"]),
        kind=TensorKind(raw["kind"]),
        shape=_ints(raw["shape"]),
        dtype=_text(raw["dtype"]),
        count=_count(raw["count"]),
        nan=_count(raw["nan"]),
        pos_inf=_count(raw["pos_inf"]),
        neg_inf=_count(raw["neg_inf"]),
        zero=_count(raw["zero"]),
        min=_number(raw["min"]),
        max=_number(raw["max"]),
        mean=_number(raw["mean"]),
        std=_number(raw["std"]),
        l2_norm=_number(raw["l2_norm"]),
    )


def _maybe(value: Any, read: Callable[[Any], T]) -> T | None:
    return None if value is None else read(value)


def _all(values: Any, read: Callable[[Any], T]) -> tuple[T, ...]:
    if values is None:
        return ()
    if not isinstance(values, list):
        raise TypeError("a list was expected")
    return tuple(read(v) for v in values[:_MANY])


def _ints(values: Any) -> tuple[int, ...]:
    return _all(values, _count)


def _count(value: Any) -> int:
    """Read a step, a size or an index; TensorFlow's own are of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise TypeError("a count was expected")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false was expected")
    return value


def _script(value: Any) -> str:
    return _text(value, _SCRIPT)


def _text(value: Any, most: int = _TEXT) -> str:
    if not isinstance(value, str):
        raise TypeError("a text was expected")
    # half a surrogate pair is a Python string, but no text that can be written to a file
    return value[:most].encode("utf-8", "replace").decode("utf-8")


def _word(value: Any, *known: str) -> str:
    if value not in known:
        raise ValueError("an unknown word")
    return str(value)


def _number(value: Any) -> float:
    special = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    if isinstance(value, str):
        return special[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number was expected")
    return float(value)


def _plain(value: Any, depth: int = 0) -> Any:
    """JSON values only, of bounded size."""
    if isinstance(value, dict) and depth < 4:
        return {_text(k): _plain(v, depth + 1) for k, v in list(value.items())[:200]}
    if isinstance(value, list) and depth < 4:
        return [_plain(v, depth + 1) for v in value[:500]]
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    raise TypeError("a plain value was expected")
