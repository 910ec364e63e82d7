"""`--python PATH`: the worker under the interpreter that the run was trained with."""

from __future__ import annotations

import ast
import json
import os
import stat
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest

from forensics.domain.replay import Blame, Origin, Phase, ReplayResult, ReplayStatus, TrialStatus
from forensics.replay.request import ReplayOptions
from forensics.replay.worker.case import saved_by
from forensics.replay.worker.keras_family import keras_api
from tests.replay.old_environment import ROOT, interpreters, old_python, tf_keras_folder
from tests.replay.replaying import PROGRAMS, replay

OLD_SYNTAX = [
    *sorted((ROOT / "forensics" / "replay" / "worker").rglob("*.py")),
    ROOT / "forensics" / "__init__.py",
    ROOT / "forensics" / "replay" / "__init__.py",
    ROOT / "forensics" / "replay" / "case.py",
]
FORMATS = {
    "bundle": "ckpt-4",
    "weights": "step_4.weights.h5",
    "model_h5": "step_4.h5",
    "keras": "step_4.keras",
}


# -- syntax
def test_the_worker_keeps_to_the_syntax_of_python_3_9() -> None:
    for file in OLD_SYNTAX:
        ast.parse(file.read_text(), str(file), feature_version=(3, 9))


def test_the_worker_compiles_under_the_old_interpreters_that_are_here() -> None:
    found = list(interpreters())
    if not found:
        pytest.skip("neither Python 3.9 nor 3.10 is installed")
    program = "import sys\nfor f in sys.argv[1:]: compile(open(f, 'rb').read(), f, 'exec')"
    for _, python in found:
        subprocess.run(
            [str(python), "-I", "-W", "error", "-c", program, *map(str, OLD_SYNTAX)], check=True
        )


# -- interpreters that cannot be used
def stub(folder: Path, script: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def refused(python: Path) -> str:
    result = replay("log_of_zero", failing_step=12, options=ReplayOptions(python=python))
    assert result.status is ReplayStatus.NOT_RUN
    assert "\n" not in result.reason
    return result.reason


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no such interpreter" in refused(tmp_path / "python3.9")


@pytest.mark.skipif(os.name != "posix", reason="shell scripts stand in for interpreters")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo '[[3, 8, 18], true]'", "is Python 3.8.18: a replay needs 3.9 or newer"),
        ("echo '[[3, 10, 4], false]'", "(Python 3.10.4) has no TensorFlow"),
        ("echo 'no such module' >&2; exit 1", "as a Python interpreter: no such module"),
        ("echo hello", "does not answer as a Python interpreter"),
    ],
)
def test_an_interpreter_that_will_not_do(tmp_path: Path, script: str, reason: str) -> None:
    assert reason in refused(stub(tmp_path, script))


def test_a_file_that_cannot_be_run(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_text("no program")
    assert "does not start: " in refused(path)


# -- saved by another Keras
def test_a_file_tells_which_keras_saved_it(tmp_path: Path) -> None:
    archive = tmp_path / "a.keras"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.4.1"}))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_group("model_weights").attrs["keras_version"] = "2.4.0"
    (tmp_path / "c.keras").write_text("damaged")
    assert saved_by.saved_by(str(archive)) == "3.4.1"
    assert saved_by.saved_by(str(tmp_path / "b.h5")) == "2.4.0"
    assert saved_by.saved_by(str(tmp_path / "c.keras")) is None
    assert saved_by.saved_by(str(tmp_path / "ckpt-1")) is None


def test_another_keras_is_said_and_another_patch_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_by, "saved_by", lambda path: "3.4.1")
    monkeypatch.setattr(keras_api, "describe", lambda things: "tf_keras 2.15.0")
    said = saved_by.version_gap("x.keras", None)
    assert said == "it was saved by Keras 3.4.1, this is Keras tf_keras 2.15.0"
    monkeypatch.setattr(keras_api, "describe", lambda things: "3.4.9")
    assert saved_by.version_gap("x.keras", None) is None


# -- TensorFlow 2.15 with Keras 2
@pytest.fixture(scope="module")
def python() -> Path:
    return old_python()


@pytest.fixture(scope="module")
def checkpoints(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    subprocess.run(
        [str(python), str(PROGRAMS / "old_keras.py"), str(folder), *FORMATS],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
        capture_output=True,
    )
    return folder


def old_replay(python: Path, function: str, **fields: Any) -> tuple[ReplayResult, Origin]:
    result = replay(
        "old_keras", function, failing_step=6, options=ReplayOptions(python=python), **fields
    )
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert result.step == 6
    assert [a.mode for a in result.attempts] == ["graph", "eager"]
    assert all(a.times_reproduced == a.times_run for a in result.attempts)
    assert result.environment["keras"].startswith("2.15")
    assert result.environment["python"].startswith(("3.9", "3.10"))
    assert result.determinism == "bitwise"
    assert result.degradations == ()
    assert result.origin is not None
    assert result.other_origins == ()
    return result, result.origin


def names_the_logarithm(origin: Origin) -> None:
    assert (origin.op_type, origin.phase, origin.layer) == ("Log", Phase.FORWARD, "logarithm")
    assert origin.source is not None
    assert (origin.source.file, origin.source.code) == ("old_keras.py", "return tf.math.log(x)")


@pytest.mark.tf
@pytest.mark.slow
def test_a_fit_is_replayed_from_every_format_of_keras_2(python: Path, checkpoints: Path) -> None:
    from_scratch, origin = old_replay(python, "fit_case", trial_seconds=60.0)
    names_the_logarithm(origin)
    assert from_scratch.samples == (3,)
    assert from_scratch.culprits == ((3,),)
    assert from_scratch.check_numerics is not None
    assert from_scratch.check_numerics.op_type == "Log"
    assert from_scratch.whose_bug is not None
    assert from_scratch.whose_bug.verdict is Blame.USER
    assert from_scratch.reproducer_script is not None
    remedies = {trial.remedy: trial.status for trial in from_scratch.trials}
    assert remedies["safe_log"] is TrialStatus.FIXED
    assert remedies["learning_rate_div_10"] is TrialStatus.STILL_FAILS
    for folder, name in FORMATS.items():
        result, origin = old_replay(python, "fit_case", checkpoint=checkpoints / folder / name)
        names_the_logarithm(origin)
        assert (result.started_from, result.reason) == (name, "")
        # slots and iterations came back too: the steps after it are those of the run
        assert result.observation is not None and from_scratch.observation is not None
        assert norms(result) == pytest.approx(norms(from_scratch), rel=1e-6)


def norms(result: ReplayResult) -> list[float | None]:
    assert result.observation is not None
    layers = {layer.name: layer for layer in result.observation.layers}
    assert set(layers) == {"positive", "logarithm", "last"}
    return [layers["positive"].weight_norm, layers["last"].weight_norm]


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.parametrize("function", ["rate_case", "legacy_rate_case"])
def test_a_lower_rate_is_tried_on_both_generations_of_optimizers(
    python: Path, function: str
) -> None:
    result = replay(
        "old_keras",
        function,
        failing_step=300,
        interval=(0, 300),
        trial_seconds=60.0,
        options=ReplayOptions(python=python),
    )
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    remedies = {trial.remedy: trial for trial in result.trials}
    assert remedies["learning_rate_div_10"].status is TrialStatus.FIXED
    assert "learning rate" in remedies["learning_rate_div_10"].change
    assert remedies["clip_global_norm"].status is TrialStatus.FIXED


@pytest.mark.tf
@pytest.mark.slow
def test_an_optimizer_of_the_first_generation(python: Path) -> None:
    result, origin = old_replay(python, "legacy_case")
    names_the_logarithm(origin)
    assert result.config["optimizer"] == "Adam"
    assert result.observation is not None
    assert result.observation.layers[0].gradient_norm is not None


@pytest.mark.tf
@pytest.mark.slow
def test_a_loop_of_a_program_whose_interpreter_has_no_forensics(python: Path) -> None:
    result, origin = old_replay(python, "loop_case")
    names_the_logarithm(origin)
    assert result.samples == (3,)
    assert result.attempts[0].mode == "graph"


@pytest.mark.tf
@pytest.mark.slow
def test_an_overflow_of_float16_does_not_happen_in_float32(python: Path) -> None:
    result, origin = old_replay(python, "overflow_case", trial_seconds=60.0)
    assert (origin.op_type, origin.dtype, origin.layer) == ("Square", "float16", "energy")
    assert result.samples == (3,)
    # finite to the end; the row is an outlier all the same, after which Adam takes small steps
    trial = next(trial for trial in result.trials if trial.remedy == "float32")
    assert trial.steps_survived is not None and trial.steps_survived > 50
    assert trial.steps_survived == trial.steps_tried


@pytest.mark.tf
@pytest.mark.slow
def test_tf_keras_beside_keras_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tf_keras_folder()))
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    result = replay("old_keras", "fit_case", failing_step=6, trial_seconds=60.0)
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert result.environment["keras"].startswith("tf_keras 2.")
    assert result.origin is not None
    names_the_logarithm(result.origin)
    assert result.other_origins == ()
    assert result.samples == (3,)
    remedies = {trial.remedy: trial.status for trial in result.trials}
    assert remedies["safe_log"] is TrialStatus.FIXED
    assert remedies["learning_rate_div_10"] is TrialStatus.STILL_FAILS


@pytest.mark.tf
@pytest.mark.slow
def test_a_skipped_update_of_loss_scaling_is_no_harm(python: Path) -> None:
    result, origin = old_replay(python, "half_case")
    assert (origin.phase, origin.op_type) == (Phase.INPUT, None)
    assert origin.input is not None and origin.input.name == "y"
    assert result.samples == (3,)
    assert result.symptom == "loss"
