"""The page's contents: the document regrouped as a reader needs it, with its cross-references."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from forensics.report.curves import Figure, MetricRow, figures, metric_rows
from forensics.report.operations import explain
from forensics.report.timeline import Moment, moments
from forensics.report.verdict import VerdictView, origin_title, view_verdict
from forensics.report.words import Advice, advice, plain, sentence

Section = Mapping[str, Any]

UNLIKELY = 0.2
"""Causes below this confidence are unlikely, and ruled out where findings contradict them."""

NEAR = 12
"""Checkpoints shown at once: those nearest to the failure; the others unfold."""

LAYER_COLUMNS = {
    "gradient_norm": "gradient norm",
    "weight_norm": "weight norm",
    "update_ratio": "update ÷ weight",
    "activation_mean": "output mean",
    "activation_std": "output spread",
    "zero_fraction": "zeros",
    "saturated_fraction": "saturated",
    "nan": "NaN",
    "inf": "Inf",
}

_CODE = re.compile(r"[A-Za-z]{1,8}[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class OriginView:
    """An op that made a non-finite value, with its explanation."""

    title: str
    explanation: str
    origin: Section


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding with its anchor, the causes it speaks for, and what to do."""

    anchor: str
    finding: Section
    why: str | None
    fix: str | None
    rule_out: str | None
    speaks_for: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A finding's code; ``anchor`` None: the report has no such finding."""

    code: str
    anchor: str | None


@dataclass(frozen=True, slots=True)
class DiagnosisView:
    """A cause with links to the findings for and against it."""

    diagnosis: Section
    supporting: tuple[Reference, ...]
    contradicting: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """All that the template shows."""

    document: Section
    verdict: VerdictView
    moments: tuple[Moment, ...]
    figures: tuple[Figure, ...]
    origin: OriginView | None
    other_origins: tuple[OriginView, ...]
    likely: DiagnosisView | None
    possible: tuple[DiagnosisView, ...]
    unlikely: tuple[DiagnosisView, ...]
    ruled_out: tuple[DiagnosisView, ...]
    findings: tuple[FindingView, ...]
    metrics: tuple[MetricRow, ...]
    config: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    commands: tuple[str, ...]
    layer_columns: tuple[str, ...]
    near_checkpoints: tuple[Section, ...]
    silent_codes: tuple[str, ...]
    asks_for_op: bool


def build_page(document: Section) -> Page:
    """Regroup a document that `read_document` returned."""
    anchors = _anchors(document["findings"])
    by_code: dict[str, str] = {}
    for finding, anchor in zip(document["findings"], anchors, strict=True):
        by_code.setdefault(finding["code"], anchor)
    causes = _diagnoses(document["diagnoses"], by_code)
    others = causes[1:]
    unlikely = [c for c in others if c.diagnosis["confidence"] < UNLIKELY]
    replay = document["replay"]
    return Page(
        document=document,
        verdict=view_verdict(document),
        moments=moments(document),
        figures=figures(document),
        origin=_origin(replay["origin"]) if replay["origin"] else None,
        other_origins=tuple(_origin(o) for o in replay["other_origins"]),
        likely=causes[0] if causes else None,
        possible=tuple(c for c in others if c not in unlikely),
        unlikely=tuple(c for c in unlikely if not c.contradicting),
        ruled_out=tuple(c for c in unlikely if c.contradicting),
        findings=_findings(document, anchors),
        metrics=metric_rows(document),
        config=tuple((plain(k), _value(v)) for k, v in document["config"].items()),
        environment=_environment(document["environment"]),
        commands=_commands(document),
        layer_columns=_layer_columns(document["layers"]),
        near_checkpoints=_near_checkpoints(document),
        silent_codes=_silent_codes(document),
        asks_for_op=_asks_for_op(document),
    )


def _anchors(findings: Sequence[Section]) -> list[str]:
    """Return an id for each finding, made of its code when that is a plain one."""
    anchors: list[str] = []
    for index, finding in enumerate(findings, 1):
        code = finding["code"] if _CODE.fullmatch(finding["code"]) else f"n{index}"
        name = f"finding-{code}"
        anchors.append(f"{name}-{index}" if name in anchors else name)
    return anchors


def _origin(origin: Section) -> OriginView:
    return OriginView(origin_title(origin), explain(origin), origin)


def _findings(document: Section, anchors: Sequence[str]) -> tuple[FindingView, ...]:
    """Return the findings; general advice is given once, with the first that it belongs to."""
    views: list[FindingView] = []
    said: set[str | None] = set()
    for finding, anchor in zip(document["findings"], anchors, strict=True):
        view = _finding(finding, anchor, document["diagnoses"])
        told = {view.why, view.fix, view.rule_out} & said
        view = replace(
            view,
            why=None if view.why in told else view.why,
            fix=None if view.fix in told else view.fix,
            rule_out=None if view.rule_out in told else view.rule_out,
        )
        said |= {view.why, view.fix, view.rule_out}
        views.append(view)
    return tuple(views)


def _finding(finding: Section, anchor: str, diagnoses: Sequence[Section]) -> FindingView:
    general: Advice | None = advice(finding["code"])
    supported = [d for d in diagnoses if finding["code"] in d["supporting"]]
    remedies = [r for d in supported[:1] for r in d["remedies"][:1]]
    return FindingView(
        anchor=anchor,
        finding=finding,
        why=finding["why"] or (general.why if general else None),
        fix=finding["fix"] or (_in_short(remedies[0]) if remedies else None),
        rule_out=finding["rule_out"] or (general.rule_out if general else None),
        speaks_for=tuple(plain(d["cause"]) for d in supported),
    )


def _in_short(remedy: Section) -> str:
    return sentence(f"{plain(remedy['remedy'])}: {remedy['why']}")


def _diagnoses(
    diagnoses: Sequence[Section], by_code: Mapping[str, str]
) -> tuple[DiagnosisView, ...]:
    return tuple(
        DiagnosisView(
            d,
            tuple(Reference(code, by_code.get(code)) for code in d["supporting"]),
            tuple(Reference(code, by_code.get(code)) for code in d["contradicting"]),
        )
        for d in diagnoses
    )


def _value(value: Any) -> str:
    """Return a setting as one line."""
    if value is None:
        return "not recorded"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _environment(
    environment: Section,
) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    parts = (("recorded", "The run"), ("analysed", "The analysis"), ("replayed", "The replay"))
    return tuple(
        (title, tuple((plain(k), _value(v)) for k, v in environment[key].items()))
        for key, title in parts
        if environment[key]
    )


def _commands(document: Section) -> tuple[str, ...]:
    """Return the commands that make this report again, and the failure alone."""
    replayed = document["replay"]["status"] != "not_run"
    case = " --replay FILE:FUNCTION" if replayed else ""
    commands = [f"forensics analyze LOGDIR{case} -o report.html"]
    if document["replay"]["reproducer"]:
        commands.append(f"python {document['replay']['reproducer']}")
    return tuple(commands)


def _layer_columns(layers: Sequence[Section]) -> tuple[str, ...]:
    """Return the columns of the table of layers that hold at least one value."""
    return tuple(c for c in LAYER_COLUMNS if any(layer[c] is not None for layer in layers))


def _near_checkpoints(document: Section) -> tuple[Section, ...]:
    """Return the `NEAR` checkpoints round the failure, the last ones when nothing failed."""
    saved: list[Section] = document["checkpoints"]
    turning = (document["first_poisoned_checkpoint"], document["last_checkpoint_before_onset"])
    middle = next((i for i, c in enumerate(saved) if c["path"] in turning), len(saved))
    start = max(0, min(middle - NEAR // 2, len(saved) - NEAR))
    return tuple(saved[start : start + NEAR])


def _silent_codes(document: Section) -> tuple[str, ...]:
    """Return the codes of the checks that ran and found nothing."""
    spoke = {f["code"] for f in document["findings"]}
    spoke |= {n["code"] for n in document["not_checked"]}
    return tuple(sorted(code for code in document["limits"]["values"] if code not in spoke))


def _asks_for_op(document: Section) -> bool:
    """Whether a reader wants to know which op it was: something failed, or a replay names one."""
    replay, status = document["replay"], document["verdict"]["status"]
    return bool(replay["origin"] or replay["check_numerics"]) or status in ("failed", "suspect")
