"""JSON Schemas (2020-12) of whole documents, made from their shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from forensics.report.shapes import NON_FINITE, Shape


def json_schema(identity: str, title: str, about: str, shape: Shape) -> dict[str, Any]:
    """Return the schema of a document.

    Parameters
    ----------
    identity : str
        Its ``$id``.
    title, about : str
        For readers.
    shape : Shape
        Of the whole document.
    """
    number = {"anyOf": [{"type": "number"}, {"enum": [*NON_FINITE]}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": identity,
        "title": title,
        "description": (
            f"{about} Unknown is null, never absent; readers ignore keys they do not know; "
            "numbers that JSON lacks are strings."
        ),
        **shape.schema(),
        "$defs": {
            "number": number,
            "number_or_null": {"anyOf": [*number["anyOf"], {"type": "null"}]},
        },
    }


def write_schema(schema: dict[str, Any], path: str) -> None:
    """Write a schema as it is kept in ``docs/``."""
    text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    Path(path).write_text(text, encoding="utf-8")
