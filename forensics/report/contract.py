"""The report's document: every section and field, and the JSON Schema made from them.

``python -m forensics.report.contract docs/report.schema.json`` writes the schema.
"""

from __future__ import annotations

import sys
from typing import Any

from forensics.domain.report import SCHEMA_VERSION, SECTIONS, Report
from forensics.domain.run import CheckpointStatus, InputState, StepSource
from forensics.errors import ReportUnreadable
from forensics.report.contract_parts import (
    AXIS,
    CAUSE,
    CODES,
    FINDING,
    GRADE,
    INTEGER,
    INTERVAL,
    MAYBE_INTEGER,
    MAYBE_NUMBER,
    MAYBE_TEXT,
    QUANTITY,
    REPLAY,
    TENSOR_COUNTS,
    TENSOR_KIND,
    TEXT,
    TRIAL,
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
    Shape,
    Table,
    Text,
    Word,
    maybe,
)

SCHEMA_ID = f"https://tf-forensics.dev/schema/report-{SCHEMA_VERSION}.json"


_layer_numbers = (
    "gradient_norm",
    "weight_norm",
    "update_ratio",
    "activation_mean",
    "activation_std",
    "zero_fraction",
    "saturated_fraction",
)

_sections: dict[str, Shape] = {
    "schema_version": Text("Semantic version of this format.", pattern=r"^1\.\d+(\.\d+)?$"),
    "tool": Object({"name": TEXT, "version": TEXT}),
    "run": Object(
        {
            "name": TEXT,
            "writers": Array(Object({"name": TEXT}, optional={"n_series": MAYBE_INTEGER})),
            "n_points": INTEGER,
            "first_step": MAYBE_INTEGER,
            "last_step": MAYBE_INTEGER,
            "step_axis": AXIS,
            "wall_time_start": maybe(Number("Seconds since the epoch.")),
            "wall_time_end": maybe(Number("Seconds since the epoch.")),
        }
    ),
    "environment": Object(
        {
            "recorded": Table(Anything(), "What the run itself recorded.", null=True),
            "analysed": Object({"python": TEXT, "platform": TEXT}, keep=True),
            "replayed": Table(Anything(), "Where the replay ran.", null=True),
        }
    ),
    "config": Object(
        {
            key: Anything()
            for key in (
                "optimizer",
                "learning_rate",
                "loss",
                "activations",
                "dtype_policy",
                "batch_size",
            )
        },
        "What was found of the run's settings, each null when not recorded.",
        keep=True,
    ),
    "inputs": Array(
        Object(
            {
                "path": Text("Relative to the log directory."),
                "kind": TEXT,
                "bytes": INTEGER,
                "sha256": MAYBE_TEXT,
                "state": Word(words_of(InputState), "How completely it was examined."),
            },
            optional={"etag": maybe(Text("Remote files, instead of a sha256."))},
        )
    ),
    "limits": Object(
        {
            "preset": TEXT,
            "values": Table(Table(Anything()), "Thresholds in force: code, name, value."),
        }
    ),
    "verdict": Object(
        {
            "status": Word(("failed", "suspect", "healthy", "unreadable")),
            "headline": Text("One sentence that can be pasted into a ticket."),
            "first_bad_step": MAYBE_INTEGER,
            "first_bad_step_interval": maybe(INTERVAL),
            "step_axis": maybe(AXIS),
            "first_bad_tag": MAYBE_TEXT,
            "cause": maybe(CAUSE),
            "confidence": Number("How sure.", null=True, low=0, high=1),
            "grade": maybe(GRADE),
            "signature": maybe(Text("Equal for equal failures.")),
        }
    ),
    "series": Array(
        Object(
            {
                "tag": TEXT,
                "writer": TEXT,
                "quantity": QUANTITY,
                "step_axis": AXIS,
                "steps": Array(INTEGER),
                "values": Array(MAYBE_NUMBER),
                "low": Array(MAYBE_NUMBER, "Smallest value of the points drawn as one.", True),
                "high": Array(MAYBE_NUMBER, "Largest value of the points drawn as one.", True),
                "nonfinite": Array(Object({"step": INTEGER, "value": Number()})),
            },
            "Downsampled for drawing; non-finite points are never dropped.",
        )
    ),
    "layers": Array(
        Object(
            {
                "name": TEXT,
                **dict.fromkeys(_layer_numbers, MAYBE_NUMBER),
                "nan": MAYBE_INTEGER,
                "inf": MAYBE_INTEGER,
            },
            optional={"kind": MAYBE_TEXT, "activation": MAYBE_TEXT},
        ),
        "The layers at the failing step, from the replay.",
        null=True,
    ),
    "findings": Array(FINDING),
    "not_checked": Array(
        Object(
            {
                "code": TEXT,
                "reason": TEXT,
                "needs": Array(TEXT),
                "how_to_record": maybe(Text("Code that would record it next time.")),
            }
        )
    ),
    "change_points": Array(
        Object(
            {
                "tag": TEXT,
                "quantity": QUANTITY,
                "step": Integer("First step of the new segment."),
                "step_axis": AXIS,
                "interval": INTERVAL,
                "level": Number("Of the interval.", null=True),
                "kind": TEXT,
                "p_value": MAYBE_NUMBER,
                "effect": MAYBE_NUMBER,
            }
        )
    ),
    "lead_indicators": Array(
        Object(
            {"tag": TEXT, "step": INTEGER, "steps_before_failure": INTEGER},
            "A series that left its band before the failure.",
        )
    ),
    "checkpoints": Array(
        Object(
            {
                "path": TEXT,
                "step": Integer("Training steps whose result it holds.", null=True),
                "step_source": maybe(Word(words_of(StepSource))),
                "status": Word(words_of(CheckpointStatus)),
                "bad_tensors": Array(Object({"name": TEXT, "kind": TENSOR_KIND, **TENSOR_COUNTS})),
            },
            optional={
                "format": MAYBE_TEXT,
                "verifiable": Flag(
                    "Whether the format has checksums: a changed byte would be noticed.", null=True
                ),
            },
        )
    ),
    "last_finite_checkpoint": MAYBE_TEXT,
    "last_checkpoint_before_onset": maybe(Text("The one to resume from.")),
    "first_poisoned_checkpoint": MAYBE_TEXT,
    "replay": REPLAY,
    "diagnoses": Array(
        Object(
            {
                "cause": CAUSE,
                "confidence": Number("How sure.", low=0, high=1),
                "confidence_basis": Anything("Data set and n that calibrated it, or null."),
                "grade": GRADE,
                "summary": TEXT,
                "supporting": CODES,
                "contradicting": CODES,
                "next_check": maybe(Text("What would decide between this and the next cause.")),
                "remedies": Array(
                    Object(
                        {
                            "remedy": TEXT,
                            "why": TEXT,
                            "snippet": TEXT,
                            "trial": maybe(TRIAL),
                        }
                    )
                ),
            }
        ),
        "Most likely first.",
    ),
    "warnings": Array(
        Object(
            {"path": TEXT, "offset": MAYBE_INTEGER, "kind": TEXT, "detail": TEXT},
            "A broken input is a record.",
        )
    ),
}

DOCUMENT = Object({section: _sections[section] for section in SECTIONS})


def read_document(report: Report) -> dict[str, Any]:
    """Return the document as renderers use it: checked, numbers decoded, unknown keys dropped.

    Raises
    ------
    ReportUnreadable
        When a field has another shape than the contract says.
    """
    try:
        document: dict[str, Any] = DOCUMENT.read(report.document, "")
    except RecursionError:
        raise ReportUnreadable("the report is nested too deeply") from None
    for index, series in enumerate(document["series"]):
        if len(series["steps"]) != len(series["values"]):
            raise ReportUnreadable(f"series[{index}]: steps and values differ in length")
    return document


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of ``report.json``."""
    about = "What `forensics analyze -o report.json` writes."
    return json_schema(SCHEMA_ID, "Report of a training run", about, DOCUMENT)


if __name__ == "__main__":
    write_schema(schema(), sys.argv[1])
