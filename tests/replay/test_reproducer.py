"""Scripts that fail with the same op: made of failing ops, and run."""

from __future__ import annotations

import io
import re
import runpy
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from forensics.replay.script_check import refused
from forensics.replay.worker import arrays
from forensics.replay.worker.blaming.failing_op import FailingOp, gist
from forensics.replay.worker.blaming.op_definition import call_of
from forensics.replay.worker.blaming.opcall import JIT
from forensics.replay.worker.reproducer import make
from forensics.replay.worker.reproducer.header import FAILS, WORKS
from forensics.replay.worker.reproducer.lines import operand_lines
from forensics.replay.worker.reproducer.proof import Proof, prove
from forensics.replay.worker.reproducer.script import MAX_LINES, batch_script
from forensics.replay.worker.reproducer.shrink import Shrinker
from forensics.replay.worker.reproducer.values import FEW, Operand, literal, simplified
from tests.replay.failing import failing

pytestmark = pytest.mark.tf
RNG = np.random.default_rng(5)
FIRST, ALL = np.array([0], np.int32), np.array([0, 1], np.int32)
WHOSE = {"verdict": "user", "reason": "because", "references": []}


def f32(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def with_one(shape: tuple[int, ...], place: tuple[int, ...], value: float) -> Any:
    array = np.abs(RNG.normal(size=shape)).astype(np.float32) + 0.1
    array[place] = value
    return array


def here(script: Path, seconds: float, settings: Any = None) -> Proof:
    """Run a script in this process, which has TensorFlow loaded."""
    said = io.StringIO()
    with redirect_stdout(said), pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    last = said.getvalue().strip().splitlines()[-1]
    assert (ended.value.code, last) in [(1, FAILS), (0, WORKS)]
    return Proof(last == FAILS, said.getvalue(), last == WORKS)


def place(folder: Path, **request: Any) -> make.Place:
    asked = {"artefacts": str(folder), **request}
    return make.Place(asked, 7, "CPU", WHOSE, time.monotonic() + 60)


def made(op: FailingOp, folder: Path, **request: Any) -> str:
    text = make.of_op(op, place(folder, **request))
    assert refused(text) is None, text
    return text


def shapes_in(text: str) -> list[str]:
    found = re.search(r"shrunk from .* to (.*?);", text.replace("\n            ", " "))
    assert found, text
    return re.findall(r"\[[\d, ]*\]", found.group(1))


CASES: dict[str, tuple[Callable[[], FailingOp], list[str]]] = {
    "one element of many": (
        lambda: failing(
            "RealDiv", [with_one((20, 6, 6), (4, 2, 3), 0), with_one((20, 1, 1), (4,), 0)]
        ),
        ["[]", "[]"],
    ),
    "a square off its diagonal": (
        lambda: failing("Log", [with_one((9, 9), (2, 7), 0)]),
        ["[]"],
    ),
    "a negative number": (lambda: failing("Log", [with_one((9,), (3,), -0.123456)]), ["[]"]),
    "a matrix product": (
        lambda: failing(
            "MatMul", [np.float16(RNG.uniform(101, 104, (12, 40))), np.full((40, 9), 99, "f2")]
        ),
        ["[1, 7]", "[7, 1]"],
    ),
    "a convolution": (
        lambda: failing(
            "Conv2D",
            [np.float16(RNG.uniform(3e4, 6e4, (3, 8, 8, 4))), np.float16(f32(3, 3, 4, 5))],
            strides=[1, 1, 1, 1],
            padding="VALID",
        ),
        ["[1, 1, 1, 1]", "[1, 1, 1, 1]"],
    ),
    "a sum that only all together pass": (
        lambda: failing("Sum", [RNG.uniform(2e37, 4e37, 300).astype(np.float32), FIRST]),
        ["[9]", "[1]"],
    ),
    "a row of nothing but masks": (
        lambda: failing(
            "Softmax", [np.where(np.arange(6)[:, None] == 4, -np.inf, f32(6, 5)).astype("float32")]
        ),
        ["[1, 1]"],
    ),
    "a mean of nothing": (
        lambda: failing("Mean", [np.zeros((0, 4), np.float32), ALL], keep_dims=True),
        ["[0, 1]", "[1]"],
    ),
    "a cast": (
        lambda: failing("Cast", [with_one((50,), (8,), 70012)], DstT=19),
        ["[]"],
    ),
    "a list of operands": (
        lambda: failing("AddN", [np.full(30, x, np.float32) for x in (2e38, 3e38)], N=2),
        ["[]", "[]"],
    ),
    "an attribute that is a text": (
        lambda: failing(
            "Einsum", [np.full((4, 3), 1e20, np.float32), np.full((3, 2), 1e20, np.float32)],
            equation="ij,jk->ik", N=2,
        ),
        ["[1, 1]", "[1, 1]"],
    ),
    "half precision of the other kind": (
        lambda: failing("Exp", [np.array([1, 2, 99], ml_dtypes.bfloat16)]),
        ["[]"],
    ),
    "batch normalisation in training": (
        lambda: failing(
            "FusedBatchNormV3",
            [with_one((8, 4, 4, 3), (2, 1, 1, 2), 1e25), *[np.float32(np.ones(3))] * 4],
            slot=2,
        ),
        [],
    ),
    "a complex number": (
        lambda: failing("Log", [np.array([1 + 1j, 0], np.complex64)]),
        ["[]"],
    ),
    "labels out of range, refused": (
        lambda: failing(
            "SparseSoftmaxCrossEntropyWithLogits", [f32(16, 7), np.array([*range(7)] * 2 + [9, 1])]
        ),
        ["[1, 7]", "[1]"],
    ),
    "labels out of range, compiled": (
        lambda: failing(
            "SparseSoftmaxCrossEntropyWithLogits", [f32(16, 7), np.array([*range(7)] * 2 + [9, 1])],
            mode=JIT,
        ),
        ["[1, 7]", "[1]"],
    ),
    "shapes that do not fit": (
        lambda: failing("MatMul", [f32(4, 3), f32(5, 2)]),
        [],
    ),
    "a gather out of range": (
        lambda: failing("GatherV2", [f32(9, 2), np.array([3, 12, 1]), np.int32(0)]),
        [],
    ),
}  # fmt: skip


def test_a_table_is_read_through_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "prove", here)
    values, attrs = [f32(9, 2), np.array([3, 12, 1])], {"dtype": 1}
    call = call_of("ResourceGather", attrs, values, {0})
    with pytest.raises(Exception, match="not in") as raised:
        call.run(values)
    text = made(FailingOp(call, values, 0, 0, raised.value), tmp_path)
    assert "tf.raw_ops.ResourceGather(resource=resource.handle, indices=indices" in text
    assert "indices = tf.constant([12]" in text


def in_place(op_type: str, values: list[Any], variables: set[int]) -> FailingOp:
    call = call_of(op_type, {}, values, variables)
    outputs = call.run(values)
    return FailingOp(call, values, 0, arrays.badness(outputs[0]))


@pytest.mark.parametrize("what", CASES)
def test_the_script_fails_with_the_same_op_on_smaller_operands(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "prove", here)
    build, shapes = CASES[what]
    op = build()
    text = made(op, tmp_path)
    assert f"tf.raw_ops.{op.call.op_type}(" in text
    assert len(text.splitlines()) < MAX_LINES
    assert not (tmp_path / "reproducer.npz").exists()
    imports = re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)
    assert imports == ["sys", "numpy", "tensorflow"]
    if shapes:
        assert shapes_in(text) == shapes, text
        assert "synthetic" in text


def test_an_update_in_place_is_made_with_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "prove", here)
    before = np.full((4, 3), -3e38, np.float32)
    text = made(in_place("AssignSubVariableOp", [before, -before], {0}), tmp_path)
    assert "tf.Variable(-3e+38" in text and "resource=resource.handle" in text
    one = [np.float32(x) for x in (0.9, 0.999, 0.1, 0.9, 0.999, 1e-7)]
    zero = np.zeros(3, np.float32)
    adam = in_place(
        "ResourceApplyAdam", [zero, zero, zero, *one, np.full(3, 1e38, np.float32)], {0, 1, 2}
    )
    assert adam.bits == 0
    adam.slot, adam.bits = 2, arrays.POS
    text = made(adam, tmp_path)
    assert text.count("tf.Variable(") == 3 and "value = tf.cast(v, tf.float64)" in text


def test_a_backward_op_is_shown_through_a_tape_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make, "prove", here)
    op = failing("SqrtGrad", [with_one((8, 3), (5, 1), 0), np.full((8, 3), 0.037, np.float32)])
    op.twin = FailingOp(call_of("Sqrt", {}, [op.values[0]], set()), [op.values[0]], 0, 0)
    text = made(op, tmp_path)
    assert "tf.raw_ops.SqrtGrad(y=y, dy=dy)" in text
    assert "answer = tf.raw_ops.Sqrt(x=forward_x)" in text
    said = here(tmp_path / "reproducer.py", 9).why
    assert "gradient of Sqrt: [array([inf]" in said.replace("array(inf", "array([inf]")


def test_the_script_of_a_batch_is_one_that_the_parent_keeps() -> None:
    _, text = batch_script({"x": f32(3, 2)}, 4)
    assert refused(text) is None, text


def test_the_real_operands_are_kept_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "prove", here)
    x, y = with_one((20, 6), (4, 2), 0), with_one((20, 6), (4, 2), 0)
    text = made(failing("RealDiv", [x, y]), tmp_path, with_data=True)
    with np.load(tmp_path / "reproducer.npz") as data:
        np.testing.assert_array_equal(data["x"], x)
        np.testing.assert_array_equal(data["y"], y)
    assert 'data["x"]' in text and "as in the run" in text


def test_operands_that_nothing_replaces_are_read_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "prove", here)
    monkeypatch.setattr(make, "SHRINK_SECONDS", 0.0)
    op = failing("Exp", [np.array([*RNG.normal(size=FEW), 99], ml_dtypes.bfloat16)])
    assert "numbers of the run" in made(op, tmp_path)
    with np.load(tmp_path / "reproducer.npz") as data:
        assert data["x"].dtype == np.float32


@pytest.mark.slow
def test_a_script_is_reported_only_if_it_fails_in_a_fresh_process(tmp_path: Path) -> None:
    op = failing("Log", [with_one((9,), (3,), 0)])
    assert "tf.raw_ops.Log(x=x)" in made(op, tmp_path)
    script = tmp_path / "reproducer.py"
    assert prove(script, 60).fails
    script.write_text(script.read_text().replace("constant(0.0", "constant(1.0"))
    ended = prove(script, 60)
    assert (ended.fails, ended.works, ended.why) == (False, True, WORKS)


def test_an_error_is_not_taken_for_the_failure(tmp_path: Path) -> None:
    script = tmp_path / "reproducer.py"
    script.write_text("raise ValueError('something else')")
    ended = prove(script, 30)
    assert (ended.fails, ended.why) == (False, "exit status 1: ValueError: something else")
    script.write_text("import time; time.sleep(60)")
    assert prove(script, 1).why == "it did not end within 1 s"


def test_a_failure_that_does_not_come_back_has_no_reproducer(tmp_path: Path) -> None:
    op = failing("Log", [with_one((9,), (3,), 0)])
    op.values = [np.ones(9, np.float32)]
    with pytest.raises(make.NoReproducer, match="does not fail again"):
        made(op, tmp_path)


def test_no_operand_gets_bad_values_of_its_own() -> None:
    shrinker = Shrinker(lambda v: True, [np.ones(4)], [], 1e18)
    assert not shrinker.holds([np.full(4, np.inf)])
    assert shrinker.attempts == 0
    assert shrinker.holds([np.zeros(2)])
    assert shrinker.attempts == 1


def test_shapes_are_judged_without_running_a_kernel() -> None:
    call = failing("Exp", [np.array([99], np.float32)]).call
    assert call.accepts([np.zeros((2, 3), np.float32)])
    attrs = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    conv = call_of("Conv2D", attrs, [f32(1, 3, 3, 1), f32(1, 1, 1, 1)], set())
    assert conv.accepts([f32(1, 3, 3, 1), f32(1, 1, 1, 1)])
    # these abort the process in oneDNN's kernel
    assert not conv.accepts([np.float32(1), np.float32(1)])
    update = call_of("AssignAddVariableOp", {}, [f32(3), f32(3)], {0})
    assert update.accepts([f32(2), f32(2)]) and not update.accepts([f32(2), f32(3)])


def test_labels_keep_the_classes_they_point_into() -> None:
    logits, labels = np.zeros((6, 4)), np.arange(6)
    shrinker = Shrinker(lambda v: v[0].shape[0] == v[1].shape[0], [logits, labels], [1], 1e18)
    smaller = shrinker.shrink([logits, labels], (), ())
    assert [v.shape for v in smaller] == [(1, 4), (1,)]


def test_numbers_are_written_so_that_they_read_back() -> None:
    for array in (
        np.array([0.1, 1e-45, 3.4e38, -np.inf], np.float32),
        np.array([[0.1, 65504]], np.float16),
        np.array([1e300, np.pi]),
        np.array([1, -3], np.int64),
        np.array([True]),
        np.array(1.5 - 2j, np.complex64),
        np.array([1.1], ml_dtypes.bfloat16),
    ):
        value = eval(literal(array), {"nan": np.nan, "inf": np.inf})
        np.testing.assert_array_equal(np.array(value).astype(array.dtype), array)


def test_long_lines_are_broken_between_numbers() -> None:
    array = np.array([1.25e-05, -3.5e-12] * 30)
    lines = operand_lines("x", Operand(array), False)
    assert len(lines) > 5
    joined = "\n".join(lines).removeprefix("x = tf.constant(").removesuffix(", dtype=tf.float64)")
    np.testing.assert_array_equal(eval(joined), array)


def test_random_numbers_stand_in_for_what_no_constant_replaces() -> None:
    spread = RNG.normal(3, 2, 400)
    operands = simplified([spread], lambda v: bool(np.std(v[0]) > 1))
    assert operands[0].code is not None and "default_rng" in operands[0].code
    np.testing.assert_array_equal(eval(operands[0].code, {"np": np}), operands[0].array)


def test_an_error_is_known_by_what_it_complains_of() -> None:
    one, two = (
        ValueError(
            f"{{{{function_node __wrapped__Op_device_{n}}}}} Label {n} is outside [0, 4) [Op:X]"
        )
        for n in (7, 12)
    )
    assert gist(one) == gist(two) == "Label # is outside [#)"
