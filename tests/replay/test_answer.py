"""The child's answer is typed, and nothing that it can say raises."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.domain.replay import Phase, ReplayStatus, TrialStatus
from forensics.replay.answer import read_answer

STATS = {
    "name": "input 0", "kind": "other", "shape": [8, 3], "dtype": "float32", "count": 24, "nan": 0,
    "pos_inf": 0, "neg_inf": 1, "zero": 2, "min": -1.5, "max": "Infinity", "mean": 0, "std": "NaN",
    "l2_norm": 3.0,
}  # fmt: skip

ORIGIN = {
    "op_type": "Log", "op_name": "dense/Log_7", "output_slot": 0, "dtype": "float32",
    "shape": [8, 3], "layer": "dense", "phase": "backward", "input": {"name": "x", "rows": [3]},
    "raised": None, "source": {"file": "t.py", "line": 9, "function": "f", "code": "log(x)"},
    "forward_op_type": "Sqrt", "inputs": [STATS], "outputs": [STATS],
}  # fmt: skip

FULL: dict[str, Any] = {
    "status": "reproduced", "reason": "", "device": "CPU", "step": 12, "started_from": "ckpt-10",
    "attempts": [{"mode": "graph", "device": "CPU", "seed": None, "outcome": "loss is NaN",
                  "times_reproduced": 3, "times_run": 3}],
    "determinism": "bitwise", "unreplayable_ops": ["RandomUniform"], "origin": ORIGIN,
    "other_origins": [ORIGIN], "benign": [{"op_type": "Log", "op_name": "a", "reason": "masked"}],
    "chain": ["a", "b"], "check_numerics": {"op_type": "Log", "op_name": "a", "message": "m"},
    "samples": [3], "minimal_batch": [3],
    "trials": [{"remedy": "learning_rate_div_10", "change": "c", "status": "fixed",
                "baseline": "fails", "steps_survived": 58, "steps_tried": 58, "loss_before": 1.0,
                "loss_after": 0.5, "rows_dropped": 0}],
    "observation": {"step": 12, "loss": "NaN", "first_step_of_run": False,
                    "layers": [{"name": "dense", "gradient_norm": "Infinity", "nan": 4}],
                    "batch": [{"name": "x", "stats": STATS, "integer": False, "bad_rows": [3],
                               "max_row": 3, "usual_std": 1}]},
    "config": {"optimizer": "Adam", "activations": [{"layer": "a", "activation": "relu"}]},
    "environment": {"threads": [1, 2], "onednn": True}, "symptom": "loss",
}  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3)
    ),
    max_leaves=8,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in an answer."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [p for k, v in value.items() for p in paths(v, (*path, k))]
    if isinstance(value, list):
        found += [p for i, v in enumerate(value) for p in paths(v, (*path, i))]
    return found


def replaced(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    answer = copy.deepcopy(FULL)
    at: Any = answer
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return answer


def test_a_full_answer_keeps_everything() -> None:
    result = read_answer(json.loads(json.dumps(FULL)))
    assert result.status is ReplayStatus.REPRODUCED
    assert (result.step, result.started_from, result.determinism) == (12, "ckpt-10", "bitwise")
    assert result.origin is not None
    assert result.origin.phase is Phase.BACKWARD
    assert result.origin.shape == (8, 3)
    assert result.origin.source is not None and result.origin.source.line == 9
    assert result.origin.inputs[0].neg_inf == 1
    assert math.isinf(result.origin.inputs[0].max)
    assert math.isnan(result.origin.inputs[0].std)
    assert result.trials[0].status is TrialStatus.FIXED
    assert result.observation is not None and result.observation.loss is not None
    assert math.isnan(result.observation.loss)
    assert result.observation.layers[0].gradient_norm == math.inf
    assert result.observation.batch[0].bad_rows == (3,)
    assert result.config["activations"] == [{"layer": "a", "activation": "relu"}]


@given(st.dictionaries(st.sampled_from([*FULL, "x"]), JSON))
def test_no_answer_raises(answer: dict[str, Any]) -> None:
    assert read_answer(answer).status in ReplayStatus


@given(st.sampled_from(paths(FULL)), JSON)
def test_no_part_of_an_answer_raises(path: tuple[Any, ...], value: Any) -> None:
    result = read_answer(replaced(path, value))
    assert result.status in ReplayStatus
    json.dumps(result.config, allow_nan=False).encode()
    result.reason.encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("status",), "fine"),
        (("status",), None),
        (("status",), ["reproduced"]),
        (("step",), "12"),
        (("step",), -1),
        (("step",), True),
        (("step",), math.inf),
        (("step",), 1 << 64),
        (("step",), None),
        (("determinism",), "perhaps"),
        (("reason",), 5),
        (("attempts",), {"mode": "graph"}),
        (("attempts", 0, "times_run"), 2.5),
        (("origin",), "Log"),
        (("origin", "phase"), "middle"),
        (("origin", "shape"), [None]),
        (("origin", "source"), []),
        (("origin", "inputs", 0, "kind"), "tensor"),
        (("origin", "inputs", 0, "min"), "nan"),
        (("origin", "inputs", 0, "min"), 10**400),
        (("trials", 0, "status"), "cured"),
        (("observation", "loss"), "much"),
        (("observation", "layers", 0, "name"), None),
        (("config", "activations"), [[[[[[]]]]]]),
    ],
)
def test_an_answer_of_the_wrong_shape_says_so(path: tuple[Any, ...], value: Any) -> None:
    result = read_answer(replaced(path, value))
    assert result.status is ReplayStatus.CRASHED
    assert "not well-formed" in result.reason


def test_long_answers_are_cut() -> None:
    result = read_answer({**FULL, "samples": list(range(10**5)), "reason": "x" * 10**6})
    assert len(result.samples) == 1000
    assert len(result.reason) == 2000


def test_half_a_surrogate_pair_becomes_writable_text() -> None:
    assert read_answer({**FULL, "reason": "a\ud800b"}).reason == "a?b"
