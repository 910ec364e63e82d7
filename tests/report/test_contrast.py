"""Colours of the page: contrast of at least 4.5 for text and 3 for signs (WCAG 2.2, AA)."""

from __future__ import annotations

import re

import pytest

from forensics.report.templates import template_folder

INKS = ("text", "muted", "link", "bad", "warn", "good", "none")
TINTS = {"bad": "bad-soft", "warn": "warn-soft", "good": "good-soft", "none": "none-soft"}


def luminance(color: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2, "relative luminance")."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def palettes() -> dict[str, dict[str, str]]:
    style = (template_folder() / "style.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", style, re.S)[:2]
    return {
        name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for name, block in (("light", light), ("dark", dark))
    }


def test_contrast_is_measured_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_ink_is_readable_on_every_ground_it_is_used_on(scheme: str) -> None:
    colors = palettes()[scheme]
    for ink in INKS:
        assert contrast(colors[ink], colors["page"]) >= 4.5, ink
        assert contrast(colors[ink], colors["soft"]) >= 4.5, ink
    for ink, ground in TINTS.items():
        for on_tint in (ink, "text", "muted", "link"):
            assert contrast(colors[on_tint], colors[ground]) >= 4.5, (on_tint, ground)


def test_signs_of_the_charts_stand_out_without_the_style_sheet() -> None:
    macros = (template_folder() / "charts.html.j2").read_text(encoding="utf-8")
    grid = {"#ffffff", "#e3e7ec", "#c5ccd4"}
    inks = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', macros)) - grid
    assert len(inks) >= 5
    for ink in inks:
        # The ticks of the axis are decoration: the labels beside them tell the same.
        assert contrast(ink, "#ffffff") >= 3 or ink == "#8b95a1", ink
