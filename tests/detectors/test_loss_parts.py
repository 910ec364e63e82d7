"""Which loss stands for the run, and what a part of it may do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from forensics.detectors.registry import inspect
from forensics.detectors.scenes import curve, falling, logged, run_of
from forensics.domain.findings import Finding, Severity
from forensics.domain.loss_tags import LossRole, loss_role
from forensics.domain.run import Series

RISING = [*np.linspace(1e-3, 2e-3, 20), *(0.5 * (1.0 - np.exp(-np.arange(180) / 30)) + 2e-3)]


def loud(*series: Series) -> list[Finding]:
    return [f for f in inspect(logged(*series)).findings if f.severity is not Severity.INFO]


@pytest.mark.parametrize(
    ("tag", "role"),
    [
        ("loss", LossRole.TOTAL), ("train/loss_1", LossRole.TOTAL), ("losses/sum", LossRole.TOTAL),
        ("epoch_loss", LossRole.TOTAL), ("total_kl_free", LossRole.TOTAL),
        ("train/recon_loss", LossRole.OWN), ("cross_entropy", LossRole.OWN),
        ("loss/l2", LossRole.NORM), ("losses/kl", LossRole.PART), ("klLoss", LossRole.PART),
        ("entropy_loss", LossRole.PART), ("loss/D", LossRole.PART), ("policy_loss", LossRole.PART),
    ],
)  # fmt: skip
def test_the_role_is_read_word_by_word(tag: str, role: LossRole) -> None:
    assert loss_role(tag) is role


@pytest.mark.parametrize(
    ("tags", "chosen", "part"),
    [
        (("losses/kl", "losses/recon", "losses/sum"), "losses/sum", False),
        (("loss/kl", "loss/total"), "loss/total", False),
        (("train/kl_loss", "train/recon_loss"), "train/recon_loss", True),
        (("batch_loss", "batch_kl_loss"), "batch_loss", False),
        (("generator_loss", "discriminator_loss"), "generator_loss", True),
        (("mse_loss",), "mse_loss", False),
        (("l1_loss",), "l1_loss", False),
        (("g_loss",), "g_loss", True),
    ],
)
def test_a_total_stands_before_its_parts(tags: tuple[str, ...], chosen: str, part: bool) -> None:
    run = run_of(*(curve(falling(30), tag=tag) for tag in tags))
    assert run.train_loss is not None
    assert run.train_loss_is_part is part
    if chosen != "generator_loss":
        assert run.train_loss.tag == chosen


def test_a_part_that_rises_beside_a_falling_total_is_silent() -> None:
    assert not loud(curve(RISING, tag="losses/kl"), curve(falling(200), tag="losses/sum"))


def test_a_part_that_rises_alone_is_only_noted() -> None:
    found = inspect(logged(curve(RISING, tag="train/kl_loss"))).findings
    assert [f.severity for f in found if f.code == "LOS001"] == [Severity.INFO]
    assert {f.code for f in loud(curve(RISING, tag="train/loss"))} == {"LOS001"}


def test_a_part_that_is_nan_is_an_error() -> None:
    broken = [*falling(30), math.nan, math.nan]
    found = loud(curve(broken, tag="kl_loss"), curve(falling(32), tag="recon_loss"))
    assert [(f.code, f.severity) for f in found] == [("NUM001", Severity.ERROR)]
