"""Parts of the worker that need no TensorFlow."""

from __future__ import annotations

import json
import math
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forensics.replay.worker import arrays
from forensics.replay.worker.case import entry
from forensics.replay.worker.channel import strict
from forensics.replay.worker.localising import fallback_origin, numerics
from forensics.replay.worker.stepping import search
from forensics.replay.worker.stepping.losses import healthy_level
from forensics.replay.worker.stepping.stepper import EndOfData, Outcome, Stepper, loss_of
from forensics.replay.worker.tracing import frames
from forensics.replay.worker.tracing.layers import layer_of_scope

Pair = namedtuple("Pair", ["left", "right"])

FLOATS = hnp.arrays(
    st.sampled_from([np.float16, np.float32, np.float64]),
    hnp.array_shapes(max_dims=3, max_side=4),
    elements=st.floats(width=16, allow_nan=True, allow_infinity=True),
)


@given(FLOATS)
def test_badness_is_what_the_elements_say(array: Any) -> None:
    bits = arrays.badness(array)
    assert bool(bits & arrays.NAN) == bool(np.isnan(array).any())
    assert bool(bits & arrays.POS) == bool(np.isposinf(array).any())
    assert bool(bits & arrays.NEG) == bool(np.isneginf(array).any())


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e5m2, np.complex64])
def test_badness_of_unusual_dtypes(dtype: Any) -> None:
    assert arrays.badness(np.ones(4, dtype)) == 0
    assert arrays.badness(np.asarray([1, np.nan], dtype)) == arrays.NAN


def test_a_sum_that_overflows_is_not_bad() -> None:
    assert arrays.badness(np.full(4, 3e38, np.float32)) == 0
    assert arrays.badness(np.full(100, 60000, np.float16)) == 0


def test_what_is_no_float_is_not_bad() -> None:
    for array in (np.arange(3), np.asarray(["nan"]), np.zeros(0), np.asarray([True])):
        assert arrays.badness(array) == 0


@given(FLOATS)
def test_statistics_count_every_element_once(array: Any) -> None:
    stats = arrays.statistics("x", array)
    finite = array[np.isfinite(array)].astype(np.float64)
    assert stats["count"] == array.size
    assert stats["nan"] + stats["pos_inf"] + stats["neg_inf"] + finite.size == array.size
    if finite.size:
        rounding = 1e-9 * (1 + abs(stats["mean"]))
        assert stats["min"] - rounding <= stats["mean"] <= stats["max"] + rounding
        assert math.isclose(stats["l2_norm"], float(np.linalg.norm(finite)), rel_tol=1e-9)
    else:
        assert math.isnan(stats["max"])


def test_the_norm_of_large_values_does_not_overflow() -> None:
    assert math.isclose(arrays.statistics("x", np.full(4, 1e300))["l2_norm"], 2e300)


def test_rows_are_rows_of_the_batch_only() -> None:
    array = np.zeros((3, 2, 2))
    array[1, 0, 1] = np.inf
    assert arrays.bad_rows(array, 3) == [1]
    assert arrays.bad_rows(array, 2) == []
    assert arrays.bad_rows(np.asarray(np.nan), 1) == []


def test_parts_of_a_batch_have_names() -> None:
    x = np.zeros((2, 2))
    names = [n for n, _ in arrays.leaves(({"a": x, "b": [x, x]}, x, None))]
    assert names == ["x/a", "x/b/0", "x/b/1", "y"]
    assert [n for n, _ in arrays.leaves(x)] == ["x"]
    assert [n for n, _ in arrays.leaves({"image": x, "label": x})] == ["image", "label"]
    assert [n for n, _ in arrays.leaves((x, x, x))] == ["x", "y", "sample_weight"]


def test_a_list_of_numbers_is_one_part() -> None:
    ((name, array),) = arrays.leaves({"x": [[1.0, 2.0], [3.0, math.nan]]})
    assert name == "x" and array.shape == (2, 2)
    assert arrays.leaves({"x": [[1.0], [2.0, 3.0]], "f": print}) == []
    assert [n for n, _ in arrays.leaves(([1.0, 2.0], [3.0, 4.0]))] == ["x", "y"]


def test_mapping_keeps_the_structure() -> None:
    batch = (Pair(1, [2.0, 3]), {"k": (np.ones(1), None)})
    doubled = arrays.mapped(batch, lambda part: np.asarray(part) * 2)
    assert isinstance(doubled[0], Pair)
    assert doubled[0].right.tolist() == [4.0, 6.0]
    assert isinstance(doubled[1]["k"], tuple) and doubled[1]["k"][1] is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(object),
        lambda part: st.lists(part) | st.dictionaries(st.integers() | st.text(), part),
        max_leaves=10,
    )
)
def test_whatever_is_sent_is_strict_json(value: Any) -> None:
    json.loads(json.dumps(strict(value), allow_nan=False))


def test_numpy_values_are_sent_as_numbers() -> None:
    sent = strict({"a": np.float32(np.inf), "b": np.int64(3), "c": np.ones(2), 4: (np.bool_(1),)})
    assert sent == {"a": "Infinity", "b": 3, "c": "[1. 1.]", "4": [True]}


class Batches:
    """A data set that counts how often it is begun."""

    def __init__(self, n: int) -> None:
        self.n, self.begun = n, 0

    def __iter__(self) -> Any:
        self.begun += 1
        return iter([{"x": np.asarray([i])} for i in range(self.n)])


def stepper(**fields: Any) -> Stepper:
    case = entry.Case({"step": print, **fields})
    return Stepper(case, SimpleNamespace())  # type: ignore[arg-type]


def test_a_data_set_is_gone_over_again() -> None:
    data = Batches(3)
    steps = stepper(dataset=data)
    assert [int(steps.batch(i)["x"][0]) for i in (0, 1, 4, 5, 7, 2)] == [0, 1, 1, 2, 1, 2]
    assert data.begun <= 4
    with pytest.raises(EndOfData, match="no element"):
        stepper(dataset=Batches(0)).batch(3)


def test_a_batch_is_fetched_once_as_long_as_it_is_kept() -> None:
    asked: list[int] = []

    def batch(step: int) -> Any:
        asked.append(step)
        return np.zeros(1 << 26)  # 512 MiB that nobody touches

    steps = stepper(batch=batch)
    for step in (0, 1, 1, 0, 2, 2, 0):
        steps.batch(step)
    assert asked == [0, 1, 2, 0]


def test_a_batch_that_cannot_be_had_ends_the_data() -> None:
    for error in (IndexError, ValueError, SystemExit):

        def batch(step: int, error: type[BaseException] = error) -> Any:
            raise error("gone")

        with pytest.raises(EndOfData, match="gone"):
            stepper(batch=batch).batch(0)
    with pytest.raises(EndOfData, match="None"):
        stepper(batch=lambda i: None).batch(0)


def test_the_loss_is_found_in_what_a_step_returns() -> None:
    assert loss_of({"accuracy": 1.0, "loss": 2.0}) == 2.0
    assert loss_of({"total": 3.0}) == 3.0
    assert loss_of((4.0, "x")) == 4.0
    assert loss_of(5) == 5
    for nothing in (None, {}, (), object()):
        assert loss_of(nothing) is None


def test_a_loss_beyond_the_limit_is_a_symptom_only_where_there_is_a_limit() -> None:
    fine, huge = Outcome(1.0, 0, None), Outcome(1e9, 0, None)
    assert fine.symptom_beyond(10.0) is None
    assert huge.symptom_beyond(10.0) == "diverged"
    assert huge.symptom_beyond(None) is None
    assert Outcome(None, 0, ValueError("no")).symptom_beyond(10.0) == "raised"
    assert Outcome(math.nan, arrays.NAN, None).describe() == "loss is NaN"


def test_the_healthy_level_is_not_that_of_the_way_up() -> None:
    falling = [10.0 / (1 + i) for i in range(60)]
    level, is_falling = healthy_level([*falling, *(2.0**i for i in range(20))])
    assert level is not None and level < 0.5 and is_falling
    flat, was_falling = healthy_level([1.0, 1.1, 0.9, 1.0, 1.05, 0.95] * 10)
    assert flat == pytest.approx(1.0, abs=0.1) and not was_falling
    assert healthy_level([math.nan]) == (None, False)
    assert healthy_level([2.0]) == (2.0, False)


def test_an_error_is_said_in_one_line() -> None:
    assert entry.brief(ValueError("a\nb")) == "ValueError: a"
    assert entry.brief(KeyError()) == "KeyError"
    graph = (
        "Graph execution error:\n\nDetected at node net/out/MatMul defined at (most recent call "
        'last):\n  File "train.py", line 3, in <module>\n\nMatrix size-incompatible: In[0]: [8,5]'
        "\n\t [[{{node net/out/MatMul}}]] [Op:__inference_step_7]"
    )
    assert (
        entry.brief(RuntimeError(graph)) == "RuntimeError: Matrix size-incompatible: In[0]: [8,5]"
    )
    wrapped = "{{function_node __wrapped__Log_device_/job:localhost}} Received a label value"
    assert entry.brief(RuntimeError(wrapped)) == "RuntimeError: Received a label value"


def test_a_case_may_be_a_dict_or_an_object() -> None:
    model = SimpleNamespace(optimizer="adam", compiled=True)
    for given_case in ({"model": model, "batch": str}, SimpleNamespace(model=model, batch=str)):
        case = entry.Case(given_case)
        assert case.restore == {"model": model, "optimizer": "adam"}
        assert (case.step, case.dataset) == (None, None)
    assert entry.Case({"step": print, "batch": str}).restore == {}
    assert entry.Case({"step": print, "batch": str, "restore": {"m": 1}}).restore == {"m": 1}


@pytest.mark.parametrize(
    ("given_case", "said"),
    [
        ({"model": SimpleNamespace(compiled=False), "batch": str}, "not compiled"),
        ({"step": 5, "batch": str}, "no function"),
        ({"step": print, "batch": str, "restore": [1]}, "no mapping"),
    ],
)
def test_a_case_that_cannot_be_used_is_refused(given_case: dict[str, Any], said: str) -> None:
    with pytest.raises(entry.CaseError, match=said):
        entry.Case(given_case)


def test_scopes_of_a_graph_name_the_layers_of_the_case() -> None:
    layers = [SimpleNamespace(name="dense"), SimpleNamespace(name="dense_1")]
    model = SimpleNamespace(name="net", layers=layers, compiled=True)
    case = entry.Case({"model": model, "batch": str})
    assert layer_of_scope(case, ["gradient_tape", "net_1", "dense_1"]) == "net/dense_1"
    assert layer_of_scope(case, ["net_1_2", "dense_3"]) == "dense"
    assert layer_of_scope(case, ["compile_loss", "mse"]) is None


def test_the_message_of_the_numerics_check_is_parsed() -> None:
    text = (
        "\x1b[1m\n\n!!! Detected Infinity or NaN in output 0 of graph op \"b'Log'\" (# of outputs: "
        "1) !!!\n {{node net_1/dense/Log/CheckNumericsV2}}"
    )
    found = numerics.parse(text)
    assert found is not None
    assert (found["op_type"], found["op_name"]) == ("Log", "net_1/dense/Log")
    assert numerics.parse("out of memory") is None
    case = entry.Case({"step": print, "batch": str})
    origin = fallback_origin.origin_of_graph_op(case, found["op_type"], found["op_name"])
    assert origin["phase"] == "forward"


def test_the_users_line_is_outside_of_libraries() -> None:
    assert frames.is_user_file(__file__)
    for file in (json.__file__, np.__file__, "<string>", arrays.__file__):
        assert not frames.is_user_file(str(file))
    place = frames.here(1)
    assert place.source is not None
    assert place.source["file"] == Path(__file__).name
    assert place.source["function"] == "test_the_users_line_is_outside_of_libraries"
    assert place.source["code"] == "place = frames.here(1)"
    assert (place.phase, place.own_gradient) == (frames.FORWARD, False)


def test_a_loop_of_python_is_told_by_what_it_counts_with() -> None:
    said: list[object] = []
    for turn in range(2):
        inner = 5 + turn
        while inner < 7:
            said.append(frames.turn_of_loop(1))
            inner += 1
        said.append(frames.turn_of_loop(1))
    assert said == ["inner = 5", "inner = 6", "turn = 0", "inner = 6", "turn = 1"]
    assert frames.turn_of_loop(1) is None


def plain_stepper(**case: Any) -> Stepper:
    parts = {"batch": None, "dataset": None, "recording": None, "step": len, **case}
    return Stepper(SimpleNamespace(**parts), SimpleNamespace())  # type: ignore[arg-type]


def test_a_batch_without_rows_is_the_end_of_the_data() -> None:
    x = np.ones((32, 4))
    steps = plain_stepper(batch=lambda i: (x[i * 16 : (i + 1) * 16], x[i * 16 : (i + 1) * 16, :1]))
    assert steps.batch(1)[0].shape == (16, 4)
    with pytest.raises(EndOfData, match="no rows"):
        steps.batch(2)


def test_a_last_batch_of_another_length_is_odd() -> None:
    course: Any = SimpleNamespace(recent=[(i, None, np.ones((16, 1))) for i in range(3)])
    assert not search._odd_one(course)
    course.recent.append((3, None, np.ones((5, 1))))
    assert search._odd_one(course)


def test_a_variable_that_goes_bad_in_another_way_counts() -> None:
    steps = plain_stepper()
    now = {"mask": arrays.NEG | arrays.NAN, "same": arrays.NEG}
    steps.state = SimpleNamespace(bad=lambda after: now)  # type: ignore[assignment]
    outcome = steps.judge(Outcome(1.0, 0, None), {"mask": arrays.NEG, "same": arrays.NEG})
    assert outcome.bad_state == ["mask"]


def test_a_dataset_that_raises_is_not_called_shuffled() -> None:
    def rows() -> Any:
        raise OSError("disk gone")
        yield

    class Broken:
        def __iter__(self) -> Any:
            return rows()

    assert not plain_stepper(dataset=Broken()).reshuffled()


def test_a_users_own_folder_named_keras_is_no_keras(tmp_path: Path) -> None:
    own = compile("def update(): pass", str(tmp_path / "keras" / "metrics" / "x.py"), "exec")
    assert frames.phase_of(own) == frames.FORWARD
    theirs = compile("pass", "/x/site-packages/keras/src/metrics/x.py", "exec")
    assert frames.phase_of(theirs) == frames.METRIC
