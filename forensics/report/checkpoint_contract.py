"""The document of ``forensics checkpoint``: its fields, and the JSON Schema made from them.

``python -m forensics.report.checkpoint_contract docs/checkpoint.schema.json`` writes the schema.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from forensics.domain.checkpoint import CHECKPOINT_SCHEMA_VERSION, ChangeKind, SearchMethod
from forensics.domain.run import CheckpointFormat, CheckpointStatus, InputState, StepSource
from forensics.report.contract_parts import (
    INTEGER,
    MAYBE_INTEGER,
    MAYBE_TEXT,
    TENSOR,
    TENSOR_KIND,
    TEXT,
    words_of,
)
from forensics.report.schemas import json_schema, write_schema
from forensics.report.shapes import (
    Anything,
    Array,
    Flag,
    Integer,
    Number,
    Object,
    Table,
    Text,
    Word,
    maybe,
)

SCHEMA_ID = f"https://tf-forensics.dev/schema/checkpoint-{CHECKPOINT_SCHEMA_VERSION}.json"

_CHECKPOINT = Object(
    {
        "path": Text("As given, or relative to the folder that was given."),
        "format": Word(words_of(CheckpointFormat)),
        "step": Integer("Training steps whose result it holds.", null=True),
        "step_source": maybe(Word(words_of(StepSource))),
        "status": Word(words_of(CheckpointStatus)),
        "verifiable": Flag("Whether the format has checksums: a changed byte would be noticed."),
        "config": Table(Anything(), "Settings found in it."),
        "n_tensors": INTEGER,
        "n_elements": INTEGER,
        "weight_norm": Number("L2 norm over the finite elements of all weights.", null=True),
        "tensors": Array(
            TENSOR, "Every tensor of one or two checkpoints; of a series only the bad ones."
        ),
    }
)

_CHANGE = Object(
    {
        "name": TEXT,
        "kind": TENSOR_KIND,
        "change": Word(words_of(ChangeKind)),
        "shape_a": Array(INTEGER, null=True),
        "shape_b": Array(INTEGER, null=True),
        "dtype_a": MAYBE_TEXT,
        "dtype_b": MAYBE_TEXT,
        "norm_a": Number("L2 norm of A over its finite elements.", null=True),
        "difference_norm": Number(
            "L2 norm of B - A over the elements that are finite in both.", null=True
        ),
        "update_ratio": Number("difference_norm / norm_a.", null=True),
        "max_change": Number("Largest |B - A| over the same elements.", null=True),
        "became_bad": Integer("Elements that are finite in A and are not in B.", null=True),
    }
)

DOCUMENT = Object(
    {
        "schema_version": Text("Semantic version of this format.", pattern=r"^1\.\d+(\.\d+)?$"),
        "tool": Object({"name": TEXT, "version": TEXT}),
        "checkpoints": Array(_CHECKPOINT, "One, two (A and B), or a series in order of step."),
        "first_poisoned": Object(
            {
                "path": MAYBE_TEXT,
                "last_clean": maybe(Text("The clean one right before it.")),
                "method": Word(words_of(SearchMethod)),
                "n_read": INTEGER,
                "n_listed": INTEGER,
            },
            "Of a series.",
            null=True,
        ),
        "difference": Object(
            {
                "a": TEXT,
                "b": TEXT,
                "steps": Integer("From A to B, where both are known.", null=True),
                "n_unchanged": INTEGER,
                "complete": Flag("Whether every tensor that both hold could be compared."),
                "tensors": Array(_CHANGE),
            },
            "Of two checkpoints.",
            null=True,
        ),
        "inputs": Array(
            Object(
                {
                    "path": TEXT,
                    "kind": TEXT,
                    "bytes": INTEGER,
                    "sha256": MAYBE_TEXT,
                    "state": Word(words_of(InputState)),
                },
                keep=True,
            )
        ),
        "warnings": Array(
            Object({"path": TEXT, "offset": MAYBE_INTEGER, "kind": TEXT, "detail": TEXT})
        ),
    }
)


def read_checkpoint_document(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document as renderers use it: checked, numbers decoded.

    Raises
    ------
    ReportUnreadable
        When a field has another shape than the contract says.
    """
    read: dict[str, Any] = DOCUMENT.read(dict(document), "")
    return read


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12)."""
    about = "What `forensics checkpoint --format json` writes."
    return json_schema(SCHEMA_ID, "Checkpoints, examined", about, DOCUMENT)


if __name__ == "__main__":
    write_schema(schema(), sys.argv[1])
