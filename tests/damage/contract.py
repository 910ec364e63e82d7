"""What every reader owes, whatever it is given; checked in a child, one batch of mutants at a time.

1. It ends: no crash, no hang.
2. Nothing escapes: damage is a warning or the state of a file, never an exception.
3. A warning has a slug, a sentence, and an offset inside the file (or what it unpacks to), or
   none.
4. Where checksums cover the values and are not repaired: what it returns was there, and what it
   does not return is missed aloud (but for a log that was cut between two records).
5. What lies beside the damaged file is read as if nothing had happened.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from forensics.errors import NothingToAnalyze
from tests.damage.confined import confined
from tests.damage.mutations import DOUBLING
from tests.damage.specimens import Files, Observation, Specimen, observe, specimens

HANG = 20.0
"""Wall seconds after which a mutant is taken to hang; the machine may be busy."""


@dataclass
class Tally:
    """How a specimen's mutants ended.

    Attributes
    ----------
    ends : Counter
        ``same``, ``partial`` (less, and said so), ``boundary`` (a log that was cut between two
        records), ``other`` (not covered by a checksum), or the name of the fault.
    faults : list of str
        Each with what it takes to make the mutant again.
    kept, sound : int
        Values found and values there, of all mutants.
    """

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    kept: int = 0
    sound: int = 0

    def add(self, other: Tally) -> None:
        self.ends.update(other.ends)
        self.faults += other.faults
        self.kept += other.kept
        self.sound += other.sound


def check(name: str, damage: str, indices: Iterable[int], folder: Path, seed: str = "1") -> Tally:
    """Hold the reader of a specimen to the contract, on the mutants `indices` of a seed."""
    left, total = list(indices), Tally()
    while left:
        outcome = confined(_batch, name, damage, left, str(folder), seed, seconds=HANG)
        if not outcome.error:
            total.add(outcome.value)
            return total
        if not outcome.error.startswith(("hangs", "killed", "ended")):
            raise AssertionError(outcome.error)
        # The last mutant that was begun is to blame; those before it were sound.
        begun, tally = outcome.value or (left[0], Tally())
        total.add(tally)
        end = "hang" if outcome.error.startswith("hangs") else "crash"
        total.ends[end] += 1
        total.faults.append(_recipe(name, damage, seed, begun, outcome.error))
        left = left[left.index(begun) + 1 :]
    return total


def mutant(specimen: Specimen, damage: str, seed: str, index: int) -> tuple[Files, str]:
    """The files that differ, and what was done: the same for the same arguments."""
    return specimen.damages[damage](specimen.files, f"{seed}:{damage}:{index}")


def _recipe(name: str, damage: str, seed: str, index: int, why: str) -> str:
    return f"{name} {damage} seed={seed} index={index}: {why}"


def _batch(
    name: str,
    damage: str,
    indices: list[int],
    folder: str,
    seed: str,
    report: Callable[[object], None],
) -> Tally:
    specimen, root = specimens()[name], Path(folder)
    write(root, specimen.files)
    truth, tally = specimen.observe(root), Tally()
    assert not truth.complains, truth
    for index in indices:
        report((index, tally))
        changed, done = mutant(specimen, damage, seed, index)
        write(root, changed)
        end, why = _judge(specimen, root, truth, {**specimen.files, **changed}, damage, done, tally)
        tally.ends[end] += 1
        if why:
            tally.faults.append(_recipe(name, damage, seed, index, f"{done}: {end}: {why}"))
        write(root, {path: specimen.files[path] for path in changed})
    return tally


def write(root: Path, files: Files) -> None:
    """Put files below `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _judge(
    specimen: Specimen,
    root: Path,
    truth: Observation,
    files: Files,
    damage: str,
    done: str,
    tally: Tally,
) -> tuple[str, str]:
    """How it ended, and what is wrong with that; nothing, if the contract was kept."""
    try:
        found = specimen.observe(root)
    except BaseException:
        return "escaped", traceback.format_exc(limit=-6)
    tally.kept += sum((found.values & truth.values).values())
    tally.sound += sum(truth.values.values())
    bad = _bad_warning(found, {} if specimen.packed else files)
    if bad:
        return "bad_warning", bad
    lost_beside = _beside(truth.values) - _beside(found.values)
    if lost_beside:
        return "neighbour", str(lost_beside)
    if found.values == truth.values:
        return "same", ""
    if damage != "raw" or not specimen.checked:
        return ("partial" if found.complains else "other"), ""
    # A damaged stream may repeat whole records out of its window.
    doubled = specimen.packed or done.rsplit(": ", 1)[-1] in DOUBLING
    more = found.values - truth.values
    invented = set(found.values) - set(truth.values) if doubled else set(more)
    invented |= _wrong_steps(found, truth)
    if invented:
        return "silent_wrong", str(list(invented)[:3])
    if not found.complains and truth.values - found.values:
        if specimen.appended and done.endswith("truncate"):
            return "boundary", ""
        return "silent_partial", str(list((truth.values - found.values).items())[:3])
    return "partial", ""


def _wrong_steps(found: Observation, truth: Observation) -> set[Hashable]:
    """Steps of checkpoints that the same source tells otherwise."""
    return {
        (path, source, step)
        for path, (source, step) in found.steps.items()
        if (sound := truth.steps.get(path)) and source == sound[0] and step != sound[1]
    }


def read_all(root: Path) -> tuple[int, bool, set[str]]:
    """How much of the sound file was read, whether anything was said, and by which slugs."""
    try:
        found = observe(root)
    except NothingToAnalyze:
        return 0, False, set()
    beside = sum(_beside(found.values).values())
    return beside, found.complains, {warning.kind for warning in found.warnings}


def _beside(values: Counter[Hashable]) -> Counter[Hashable]:
    return Counter({v: n for v, n in values.items() if isinstance(v, tuple) and "neighbour" in v})


def _bad_warning(found: Observation, files: Files) -> str:
    for warning in found.warnings:
        if not warning.kind or not warning.detail or not warning.path:
            return f"says nothing: {warning}"
        size = len(files[warning.path]) if warning.path in files else None
        if warning.offset is not None and size is not None and not 0 <= warning.offset <= size:
            return f"points outside the {size} bytes of its file: {warning}"
    return ""
