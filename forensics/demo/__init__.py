"""The question people ask: it trains on 100 images, but with 9,000 the loss becomes NaN.

`run_demo` really trains both runs, in child processes as a user would, analyses them and writes a
report on each. The training program is `train.py`, which knows nothing of the analysis.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forensics.domain.report import Report
from forensics.errors import ForensicsError, UsageError
from forensics.pipeline import analyze
from forensics.report.html import render_html
from forensics.report.json import render_json

TRAIN = Path(__file__).resolve().with_name("train.py")
DEADLINE = 600.0
"""Seconds for one training run: it takes about ten, more on a loaded machine."""

INTRODUCTION = "The same program (forensics/demo/train.py), trained on 100 images and on 9,000:"

Progress = Callable[[str], None]


class TrainingFailed(ForensicsError):
    """The demo's program did not run to its end."""

    slug = "training-failed"


@dataclass(frozen=True, slots=True)
class Act:
    """One of the two runs of the demo."""

    name: str
    images: int
    replayed: bool
    status: str
    """How the analysis must end."""


ACTS = (Act("healthy-100", 100, False, "healthy"), Act("failed-9000", 9_000, True, "failed"))


@dataclass(frozen=True, slots=True)
class Told:
    """A finished act: its report and the files it was written to."""

    act: Act
    report: Report
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo found."""

    told: tuple[Told, ...]

    @property
    def as_described(self) -> bool:
        """Whether the small run is healthy and the failure of the large one was reproduced."""
        statuses = all(t.report.verdict["status"] == t.act.status for t in self.told)
        return statuses and all(
            t.report.document["replay"]["status"] == "reproduced"
            for t in self.told
            if t.act.replayed
        )

    def summary(self) -> str:
        """Return both verdicts and where the reports are."""
        return "\n\n".join([INTRODUCTION, *(_told(t) for t in self.told)])


def run_demo(
    output: Path, *, device: str = "auto", progress: Progress = lambda _: None
) -> DemoResult:
    """Train both runs, analyse them, write the reports.

    Parameters
    ----------
    output : Path
        Gets ``healthy-100`` and ``failed-9000``, each as ``.html`` and ``.json``, and the runs
        themselves in ``runs/``; those of an earlier demo are replaced.
    device : str
        Where the replay runs: ``auto``, ``cpu`` or ``gpu``.
    progress : callable
        Takes one line at a time.

    Raises
    ------
    TrainingFailed
        When the training program fails or takes too long.
    UsageError
        When `output` cannot be written.
    """
    try:
        (output / "runs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {output}: {error.strerror or error}") from error
    told = []
    for act in ACTS:
        run = output / "runs" / act.name
        progress(f"training on {act.images:,} images")
        train(run, act.images)
        report = analyze(
            run,
            replay=f"{TRAIN}:replay_case" if act.replayed else None,
            device=device,
            progress=lambda line, act=act: progress(f"{act.name}: {line}"),  # type: ignore[misc]
        )
        told.append(Told(act, report, _write(report, output / act.name)))
    return DemoResult(tuple(told))


def train(folder: Path, images: int) -> None:
    """Run the training program in a child process; an earlier run in ``folder`` is replaced.

    Raises
    ------
    TrainingFailed
        When it exits with an error or takes longer than ``DEADLINE``.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    log = folder / "stdout.txt"
    command = [sys.executable, str(TRAIN), str(folder), str(images)]
    try:
        with log.open("wb") as sink:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=_environment(),
                timeout=DEADLINE,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise TrainingFailed(f"training on {images} images took over {DEADLINE:g} s") from error
    if done.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no output"
        raise TrainingFailed(f"training on {images} images failed ({last}); all of it is in {log}")


def _environment() -> dict[str, str]:
    """Return the child's environment: this installation of forensics, and a quiet TensorFlow."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")}
    installation = str(TRAIN.parent.parent.parent)
    paths = [installation, *filter(None, [env.get("PYTHONPATH")])]
    return {**env, "PYTHONPATH": os.pathsep.join(paths)}


def _write(report: Report, stem: Path) -> tuple[Path, ...]:
    html, plain = stem.with_name(stem.name + ".html"), stem.with_name(stem.name + ".json")
    html.write_text(render_html(report), encoding="utf-8")
    plain.write_text(render_json(report), encoding="utf-8")
    return html, plain


def _told(told: Told) -> str:
    document = told.report.document
    verdict, replay = document["verdict"], document["replay"]
    lines = [f"{told.act.images:,} images: {verdict['status']}", f"  {verdict['headline']}"]
    origin = replay["origin"]
    if origin is not None and origin["source"] is not None:
        source = origin["source"]
        lines.append(f"  line    {Path(source['file']).name}:{source['line']}  {source['code']}")
    if verdict["status"] == "failed":
        lines.append(f"  cause   {verdict['cause']} (confidence {verdict['confidence']:.2f})")
        lines += [f"  fix     {line}" for line in _fix(document["diagnoses"])]
        lines.append(f"  resume  {document['last_checkpoint_before_onset'] or 'from the start'}")
    lines += [f"  report  {path}" for path in told.files]
    return "\n".join(lines)


def _fix(diagnoses: list[dict[str, object]]) -> list[str]:
    """Return the first remedy of the most likely cause."""
    remedies = diagnoses[0]["remedies"] if diagnoses else None
    if not isinstance(remedies, list) or not remedies:
        return []
    return [f"{str(remedies[0]['remedy']).replace('_', ' ')}: {remedies[0]['why']}"]
