"""What holds for every detector: examples, registration, documentation, invariances."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

import forensics.detectors
from forensics.detectors.base import Detector, Example
from forensics.detectors.docs import page, render
from forensics.detectors.registry import DETECTORS, inspect, limits
from forensics.detectors.scenes import curve, falling, logged
from forensics.domain.findings import Finding, NotChecked
from forensics.domain.quantity import Quantity
from forensics.domain.run import Series
from forensics.domain.scene import Scene

CASES = [(d, e) for d in DETECTORS for e in d.examples()]
IDS = [f"{d.code}-{e.name.replace(' ', '_')}" for d, e in CASES]


def findings(detector: Detector, scene: Scene) -> list[Finding]:
    return [a for a in detector.detect(scene) if isinstance(a, Finding)]


@pytest.mark.parametrize(("detector", "example"), CASES, ids=IDS)
def test_example(detector: Detector, example: Example) -> None:
    found = findings(detector, example.scene)
    if example.severity is None:
        assert found == []
        return
    assert found, "must be reported"
    assert found[0].severity is example.severity
    assert found[0].onset_step == example.onset
    assert found[0].code == detector.code
    assert all(f.evidence for f in found)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.code)
def test_shows_what_fires_and_what_stays_silent(detector: Detector) -> None:
    severities = [e.severity for e in detector.examples()]
    assert any(s is not None for s in severities)
    assert any(s is None for s in severities)


def test_no_file_is_missing_from_the_registry() -> None:
    registered = {type(d) for d in DETECTORS}
    found = set()
    for module in pkgutil.iter_modules(forensics.detectors.__path__):
        loaded = importlib.import_module(f"forensics.detectors.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, type) and hasattr(value, "detect") and hasattr(value, "code"):
                found.add(value)
    assert found == registered


def test_codes_and_names_are_unique_and_well_formed() -> None:
    codes = [d.code for d in DETECTORS]
    assert len(set(codes)) == len(codes)
    assert len({d.name for d in DETECTORS}) == len(codes)
    assert all(re.fullmatch(r"(NUM|LOS|GRD|WGT|ACT|OPT|DAT|LOG|MOD|PRC)\d{3}", c) for c in codes)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.code)
def test_every_threshold_is_documented_with_its_source(detector: Detector) -> None:
    text = type(detector).__doc__ or ""
    assert is_dataclass(detector)
    assert "References\n    ----------" in text
    for field in fields(detector):
        entry = re.search(rf"^    {field.name} : (float|int)\n((?:        .*\n)+)", text, re.M)
        assert entry, f"{field.name} is not documented"
        stated = re.search(
            r"default\s+(-?\d+(?:\.\d+)?(?:e-?\d+)?)", entry.group(2).replace("\n", " ")
        )
        assert stated, f"{field.name} has no default in its documentation"
        assert float(stated.group(1)) == float(getattr(detector, field.name))


def test_limits_are_the_thresholds() -> None:
    assert limits()["GRD001"]["decades"] == 2.0
    assert set(limits()) == {d.code for d in DETECTORS}


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.code)
def test_an_empty_run_is_not_checked_or_silent(detector: Detector) -> None:
    answers = list(detector.detect(logged()))
    assert all(isinstance(a, NotChecked) for a in answers)
    assert all(a.how_to_record for a in answers if isinstance(a, NotChecked))


def test_before_a_replay_those_that_need_one_say_so() -> None:
    seen = inspect(logged(curve(falling(50))))
    waiting = {n.code for n in seen.not_checked if n.needs == ("replay",)}
    assert waiting == {d.code for d in DETECTORS if d.needs_replay}
    assert seen.findings == ()


def shifted(series: Series, by: int) -> Series:
    return replace(series, steps=series.steps + by)


@pytest.mark.parametrize(("detector", "example"), CASES, ids=IDS)
def test_shifted_steps_shift_the_onset(detector: Detector, example: Example) -> None:
    """Only where curves alone decide: checkpoints and batches carry steps of their own."""
    run = example.scene.run
    if (
        example.scene.replay is not None
        or run.checkpoint_stats
        or detector.code in ("LOS003", "MOD001")
    ):
        pytest.skip("not judged by curves alone")
    moved = Scene(replace(run, series=tuple(shifted(s, 1000) for s in run.series)))
    before, after = findings(detector, example.scene), findings(detector, moved)
    assert [f.severity for f in before] == [f.severity for f in after]
    assert [(f.onset_step or 0) + 1000 for f in before] == [f.onset_step for f in after]


@pytest.mark.parametrize(("detector", "example"), CASES, ids=IDS)
def test_the_unit_of_the_loss_changes_nothing(detector: Detector, example: Example) -> None:
    run = example.scene.run
    if detector.code in ("LOS003", "GRD002"):
        pytest.skip("judges absolute values on purpose")
    scaled = tuple(
        replace(s, values=s.values * (10.0 if s.quantity is Quantity.TRAIN_LOSS else 1.0))
        for s in run.series
    )
    again = Scene(replace(run, series=scaled), example.scene.replay)
    assert [(f.severity, f.onset_step) for f in findings(detector, example.scene)] == [
        (f.severity, f.onset_step) for f in findings(detector, again)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_healthy_curves_give_neither_error_nor_warning(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(30, 600))
    floor = float(rng.uniform(0.01, 0.6))
    loss = (floor + 2 * np.exp(-np.arange(n) / (n / rng.uniform(2, 6)))) * np.exp(
        rng.normal(0, rng.uniform(0.01, 0.15), n)
    )
    norm = np.sqrt(loss) * np.exp(rng.normal(0, 0.3, n))
    rate = 1e-3 * np.minimum(1.0, (1 + np.arange(n)) / 20)
    scene = logged(
        curve(loss), curve(norm, Quantity.GRADIENT_NORM), curve(rate, Quantity.LEARNING_RATE)
    )
    assert inspect(scene).findings == ()


def test_the_page_is_current() -> None:
    assert page().read_text(encoding="utf-8") == render(), "run python -m forensics.detectors.docs"
