"""The document of ``forensics checkpoint`` as text: tables that can be read, cut and grepped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from forensics.report.checkpoint_contract import read_checkpoint_document
from forensics.report.numbers import UNKNOWN, number, percent, shape, step
from forensics.report.sanitize import sanitize
from forensics.report.words import plain

Section = Mapping[str, Any]

_RED, _YELLOW, _GREEN, _BOLD, _OFF = "31", "33", "32", "1", "\x1b[0m"
_STATUS_COLOR = {"clean": _GREEN, "poisoned": _RED, "damaged": _YELLOW}
_STATUS_SIGN = {"clean": "✓", "poisoned": "✗", "damaged": "!"}
_WARNINGS = 20
_FORMATS = {
    "tensor_bundle": "TensorFlow tensor bundle",
    "keras_archive": "Keras archive",
    "weights_h5": "Keras weights (HDF5)",
    "saved_model": "SavedModel",
    "orbax": "Orbax",
}
NOT_VERIFIABLE = "not verifiable: the format has no checksums, a changed byte goes unnoticed"
_OBJECT_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def render_checkpoint(document: Mapping[str, Any], *, color: bool = False) -> str:
    """Return the document as text; coloured only when asked.

    Raises
    ------
    ReportUnreadable
        When the document does not follow the contract.
    """
    found = read_checkpoint_document(document)
    if found["difference"] is not None:
        body = [*_heads(found, color), "", *_difference(found["difference"])]
    elif found["first_poisoned"] is not None:
        body = [*_series(found, color)]
    else:
        body = [*_heads(found, color), "", *_tensors(found["checkpoints"])]
    return "\n".join([*body, *_warnings(found)]).rstrip() + "\n"


def _paint(text: str, color: bool, *codes: str) -> str:
    return f"\x1b[{';'.join(codes)}m{text}{_OFF}" if color and codes else text


def _heads(document: Section, color: bool) -> Iterator[str]:
    several = len(document["checkpoints"]) > 1
    for label, found in zip("AB", document["checkpoints"], strict=False):
        status = found["status"]
        sign = f"{_STATUS_SIGN.get(status, '?')} {status.upper()}"
        painted = _paint(sign, color, _BOLD, _STATUS_COLOR.get(status, _BOLD))
        yield f"{label + '  ' if several else ''}{painted}  {sanitize(found['path'])}"
        counted = f"{number(found['n_tensors'])} tensors, {step(found['n_elements'])} elements"
        yield f"   {_format(found)}, {_dated(found)}, {counted}"
        settings = [f"{plain(k)} {_setting(v)}" for k, v in found["config"].items() if _plain(v)]
        if settings:
            yield f"   {sanitize(', '.join(settings))}"
        if not found["verifiable"]:
            yield f"   {NOT_VERIFIABLE}"
        yield from (f"   {line}" for line in _bad(found["tensors"]))


def _format(found: Section) -> str:
    return _FORMATS.get(found["format"], sanitize(plain(found["format"])))


def _dated(found: Section) -> str:
    if found["step"] is None:
        return "step unknown"
    return (
        f"after step {step(found['step'])} (by its {sanitize(plain(found['step_source'] or ''))})"
    )


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _setting(value: object) -> str:
    return number(value) if isinstance(value, int | float) else str(value)


def _bad(tensors: Sequence[Section]) -> Iterator[str]:
    for tensor in tensors:
        counts = ((tensor["nan"], "NaN"), (tensor["pos_inf"], "+Inf"), (tensor["neg_inf"], "−Inf"))
        named = ", ".join(f"{step(count)} {word}" for count, word in counts if count)
        if named:
            whole = step(tensor["count"])
            yield f"{_name(tensor)} ({tensor['kind']}): {named} of {whole} elements"


def _name(tensor: Section) -> str:
    """Name of a tensor without what every key of an object-based bundle ends in."""
    return sanitize(tensor["name"].removesuffix(_OBJECT_VALUE))


def _share(tensor: Section) -> str:
    return percent(tensor["zero"] / tensor["count"]) if tensor["count"] else UNKNOWN


def _infinite(tensor: Section) -> int:
    return int(tensor["pos_inf"] + tensor["neg_inf"])


_Column = tuple[str, Callable[[Any], str]]

_TENSOR_COLUMNS: tuple[_Column, ...] = (
    ("kind", lambda t: t["kind"]),
    ("shape", lambda t: shape(t["shape"])),
    ("dtype", lambda t: sanitize(t["dtype"])),
    ("NaN", lambda t: step(t["nan"])),
    ("Inf", lambda t: step(_infinite(t))),
    ("zero", _share),
    ("min", lambda t: number(t["min"])),
    ("max", lambda t: number(t["max"])),
    ("mean", lambda t: number(t["mean"])),
    ("std", lambda t: number(t["std"])),
    ("L2 norm", lambda t: number(t["l2_norm"])),
    ("name", _name),
)

_CHANGE_COLUMNS: tuple[_Column, ...] = (
    ("kind", lambda t: t["kind"]),
    ("shape", lambda t: shape(t["shape_b"] if t["shape_b"] is not None else t["shape_a"])),
    ("L2 of A", lambda t: number(t["norm_a"])),
    ("L2 of B−A", lambda t: number(t["difference_norm"])),
    ("ratio", lambda t: number(t["update_ratio"])),
    ("max |B−A|", lambda t: number(t["max_change"])),
    ("became bad", lambda t: step(t["became_bad"])),
    ("name", _name),
)


def _table(columns: Sequence[_Column], rows: Sequence[Section]) -> Iterator[str]:
    """Yield aligned lines; the last column, the name, is as long as it is."""
    cells = [[title for title, _ in columns], *([make(row) for _, make in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    left = {"kind", "shape", "dtype", "name", "status", "path"}
    for line in cells:
        yield "  ".join(
            cell.ljust(width) if title in left else cell.rjust(width)
            for cell, width, (title, _) in zip(line, widths, columns, strict=True)
        ).rstrip()


def _tensors(checkpoints: Sequence[Section]) -> Iterator[str]:
    for found in checkpoints:
        yield from _table(_TENSOR_COLUMNS, found["tensors"])


def _difference(difference: Section) -> Iterator[str]:
    groups: dict[str, list[Section]] = {}
    for change in difference["tensors"]:
        groups.setdefault(change["change"], []).append(change)
    changed = groups.pop("changed", []) + groups.pop("dtype_changed", [])
    apart = difference["steps"]
    steps = f" over {step(apart)} steps" if apart is not None else ""
    counts = [f"{step(len(changed))} changed", f"{step(difference['n_unchanged'])} unchanged"]
    counts += [f"{step(len(v))} {plain(k)}" for k, v in groups.items() if k != "unchanged"]
    yield f"From A to B{steps}: {', '.join(counts)}"
    if not difference["complete"]:
        yield "Not every tensor could be compared: see below."
    if changed:
        yield ""
        yield from _table(_CHANGE_COLUMNS, sorted(changed, key=_by_change))
    for kind, members in groups.items():
        yield ""
        yield f"{plain(kind)} ({step(len(members))})"
        yield from (f"  {_named(change)}" for change in members)


def _by_change(change: Section) -> tuple[bool, float]:
    """Order by what went bad, then by the update ratio, the largest first."""
    ratio = change["update_ratio"]
    return (not change["became_bad"], -ratio if ratio is not None and ratio == ratio else 0.0)


def _named(change: Section) -> str:
    name = f"{_name(change)} ({change['kind']})"
    if change["change"] == "shape_changed":
        return f"{name}: {shape(change['shape_a'])} became {shape(change['shape_b'])}"
    return name


_SERIES_COLUMNS: tuple[_Column, ...] = (
    ("step", lambda c: step(c["step"])),
    ("status", lambda c: c["status"]),
    ("bad tensors", lambda c: step(len(c["tensors"]))),
    ("weights' L2 norm", lambda c: number(c["weight_norm"])),
    ("path", lambda c: sanitize(c["path"])),
)


def _series(document: Section, color: bool) -> Iterator[str]:
    first = document["first_poisoned"]
    path, before = first["path"], first["last_clean"]
    if path is not None:
        yield _paint(f"First poisoned: {sanitize(path)}", color, _BOLD, _RED)
        known = sanitize(before) if before is not None else "none"
        yield f"Last clean one before it: {known}"
        poisoned = next((c for c in document["checkpoints"] if c["path"] == path), None)
        yield from (f"   {line}" for line in _bad(poisoned["tensors"] if poisoned else ()))
    elif any(c["status"] == "damaged" for c in document["checkpoints"]):
        yield _paint("None of those that could be read is poisoned", color, _BOLD, _YELLOW)
    else:
        yield _paint("No checkpoint is poisoned", color, _BOLD, _GREEN)
    yield _how_sought(first)
    yield ""
    yield from _table(_SERIES_COLUMNS, document["checkpoints"])


def _how_sought(first: Section) -> str:
    if first["method"] == "all":
        return f"All {step(first['n_listed'])} checkpoints were read."
    return (
        f"{step(first['n_read'])} of {step(first['n_listed'])} checkpoints were read (bisection, "
        "because reading is remote): it is assumed that what was poisoned once stayed so."
    )


def _warnings(document: Section) -> Iterator[str]:
    warnings = document["warnings"]
    if not warnings:
        return
    yield ""
    yield f"Not read completely ({step(len(warnings))})"
    for warning in warnings[:_WARNINGS]:
        at = f" at byte {step(warning['offset'])}" if warning["offset"] is not None else ""
        yield f"  {sanitize(warning['path'])}{at}: {sanitize(warning['detail'])}"
    if len(warnings) > _WARNINGS:
        yield f"  ... and {step(len(warnings) - _WARNINGS)} more in the JSON"
