"""Parts of the report's document: vocabularies, tensors, evidence, findings, the replay."""

from __future__ import annotations

from enum import StrEnum

from forensics.domain.diagnosis import Cause, Grade
from forensics.domain.findings import Severity
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.replay import Blame, Phase, ReplayStatus, TrialStatus
from forensics.domain.run import TensorKind
from forensics.report.shapes import (
    Array,
    Flag,
    Integer,
    Number,
    Object,
    Shape,
    Text,
    Variants,
    Word,
    maybe,
)


def words_of(vocabulary: type[StrEnum]) -> tuple[str, ...]:
    """Return the words of a vocabulary of the domain."""
    return tuple(word.value for word in vocabulary)


AXIS = Word(words_of(StepAxis), "What a step counts; batches and epochs are never mixed.")
SEVERITY = Word(words_of(Severity), "How bad, never how sure.")
GRADE = Word(words_of(Grade), "How it is known, best first.")
CAUSE = Word(words_of(Cause), "Causes of third parties start with `x-`.", foreign=True)
QUANTITY = Word(words_of(Quantity), "What the series measures, whatever its tag was called.")
PHASE = Word(words_of(Phase), "Where in a training step the op ran.")
TENSOR_KIND = Word(words_of(TensorKind))
TRIAL = Word(words_of(TrialStatus))
TEXT, NUMBER, INTEGER = Text(), Number(), Integer()
MAYBE_TEXT, MAYBE_NUMBER, MAYBE_INTEGER = maybe(TEXT), maybe(NUMBER), maybe(INTEGER)
INTERVAL = Array(INTEGER, "First and last step that it may have been, both inclusive.", length=2)
CODES = Array(TEXT, "Codes of findings.")
ROWS = Array(INTEGER, "Row indices in the batch, from 0.")

TENSOR_COUNTS: dict[str, Shape] = {
    "nan": INTEGER,
    "pos_inf": INTEGER,
    "neg_inf": INTEGER,
    "count": Integer("Number of elements."),
}

TENSOR = Object(
    {
        "name": TEXT,
        "kind": TENSOR_KIND,
        "shape": Array(INTEGER),
        "dtype": TEXT,
        **TENSOR_COUNTS,
        "zero": INTEGER,
        "min": Number("Over the finite elements, as max, mean, std and l2_norm."),
        "max": NUMBER,
        "mean": NUMBER,
        "std": NUMBER,
        "l2_norm": NUMBER,
    },
)

EVIDENCE = Variants(
    {
        "curve": Object(
            {
                "tag": TEXT,
                "first_step": INTEGER,
                "last_step": INTEGER,
                "step_axis": AXIS,
                "measured": MAYBE_NUMBER,
                "limit": MAYBE_NUMBER,
                "unit": TEXT,
            }
        ),
        "tensor": Object(
            {
                "checkpoint": TEXT,
                "name": TEXT,
                "kind": TENSOR_KIND,
                "step": MAYBE_INTEGER,
                **TENSOR_COUNTS,
            }
        ),
        "op": Object(
            {
                "op_type": TEXT,
                "op_name": TEXT,
                "layer": MAYBE_TEXT,
                "phase": TEXT,
                "step": MAYBE_INTEGER,
                "detail": TEXT,
            }
        ),
        "batch": Object(
            {
                "input": Text("Part of the batch: x, y, sample_weight, ..."),
                "step": INTEGER,
                "rows": ROWS,
                "measured": MAYBE_NUMBER,
                "limit": MAYBE_NUMBER,
                "unit": TEXT,
            }
        ),
        "layer": Object(
            {
                "layer": TEXT,
                "step": INTEGER,
                "measured": MAYBE_NUMBER,
                "limit": MAYBE_NUMBER,
                "unit": TEXT,
            }
        ),
        "config": Object({"key": TEXT, "value": TEXT, "expected": TEXT}),
        "file": Object({"path": TEXT, "offset": MAYBE_INTEGER, "detail": TEXT}),
    },
    "The proof that a finding carries.",
)

FINDING = Object(
    {
        "code": TEXT,
        "name": TEXT,
        "severity": SEVERITY,
        "summary": TEXT,
        "onset_step": MAYBE_INTEGER,
        "onset_interval": maybe(INTERVAL),
        "step_axis": AXIS,
        "p_value": Number("Only where it is calibrated.", null=True, low=0, high=1),
        "score": Number("Ranks; it is no probability.", null=True),
        "evidence": Array(EVIDENCE),
    },
    optional={
        "why": maybe(Text("Why it matters.")),
        "fix": maybe(Text("What to do about it.")),
        "rule_out": maybe(Text("How to rule it out.")),
    },
)

ORIGIN = Object(
    {
        "op_type": maybe(Text("Null for an input.")),
        "op_name": MAYBE_TEXT,
        "output_slot": MAYBE_INTEGER,
        "dtype": MAYBE_TEXT,
        "shape": Array(INTEGER, null=True),
        "layer": maybe(Text("A backward op's forward twin's; an optimizer op's variable's.")),
        "phase": PHASE,
        "input": Object({"name": TEXT, "rows": ROWS}, "For phase input: which and where.", True),
        "raised": maybe(Text("Message of an op that raised instead of answering.")),
        "source": Object(
            {"file": TEXT, "line": INTEGER, "function": TEXT, "code": TEXT},
            "A line of the user's program.",
            null=True,
        ),
        "forward_op_type": maybe(Text("For a backward op.")),
        "inputs": Array(TENSOR),
        "outputs": Array(TENSOR),
    },
)

_op = {"op_type": TEXT, "op_name": TEXT}

WHOSE_BUG = Object(
    {
        "verdict": Word(words_of(Blame), "Whose bug it is."),
        "reason": TEXT,
        "references": Array(
            Object({"engine": TEXT, "finite": Flag(null=True), "detail": TEXT}),
            "The failing op run again elsewhere.",
        ),
    }
)

SCAN = Object(
    {
        "started_from": MAYBE_TEXT,
        "batches": Integer("Batches that were gone over."),
        "complete": Flag("False: the time ended before the data."),
        "ranked": Array(
            Object(
                {
                    "batch": Integer("Its place in the data set, from 0."),
                    "loss": MAYBE_NUMBER,
                    "gradient_norm": MAYBE_NUMBER,
                    "non_finite": Flag(),
                    "rows": ROWS,
                }
            ),
            "Worst first.",
        ),
        "reruns": Integer("Reshuffled passes with updates."),
        "reproduced": Integer("Those of them that failed."),
    }
)

REPLAY = Object(
    {
        "status": Word(words_of(ReplayStatus)),
        "reason": MAYBE_TEXT,
        "device": MAYBE_TEXT,
        "step": MAYBE_INTEGER,
        "attempts": Array(
            Object(
                {
                    "mode": Text("graph, jit or eager."),
                    "device": TEXT,
                    "seed": MAYBE_INTEGER,
                    "outcome": TEXT,
                    "times_reproduced": INTEGER,
                    "times_run": INTEGER,
                }
            ),
            null=True,
        ),
        "determinism": Word(("bitwise", "tolerance", "none"), "As measured.", null=True),
        "unreplayable_ops": Array(TEXT, null=True),
        "sandbox": Array(TEXT, "Layers in force.", null=True),
        "origin": maybe(ORIGIN),
        "other_origins": Array(ORIGIN, "Further independent harmful origins.", null=True),
        "benign": Array(
            Object({**_op, "reason": TEXT}), "Non-finite values that do no harm.", null=True
        ),
        "chain": Array(TEXT, "From the origin to what it poisons.", null=True),
        "check_numerics": Object(
            {**_op, "message": TEXT},
            "What tf.debugging.enable_check_numerics says.",
            null=True,
        ),
        "samples": maybe(ROWS),
        "minimal_batch": maybe(ROWS),
        "collective": Flag("No subset of rows is guilty alone.", null=True),
        "trials": Array(
            Object(
                {
                    "remedy": TEXT,
                    "change": TEXT,
                    "status": TRIAL,
                    "baseline": TEXT,
                    "steps_survived": MAYBE_INTEGER,
                    "steps_tried": MAYBE_INTEGER,
                    "loss_before": MAYBE_NUMBER,
                    "loss_after": MAYBE_NUMBER,
                    "rows_dropped": INTEGER,
                }
            ),
            null=True,
        ),
        "reproducer": maybe(Text("Path of a script that fails the same way.")),
    },
    optional={
        "started_from": maybe(Text("Checkpoint; null: the state that the case builds.")),
        "symptom": maybe(Text("What made the step a failing one.")),
        "source": maybe(Text("What the step was taken from: entry_point, recording, ...")),
        "instrument": maybe(Text("Which instrument named the origin: own_trace, ...")),
        "degradations": Array(TEXT, "What the instruments could not do here.", null=True),
        "culprits": Array(ROWS, "Groups of rows, each of which fails alone.", null=True),
        "row_notes": Array(TEXT, "What is to be known about the rows.", null=True),
        "whose_bug": maybe(WHOSE_BUG),
        "scan": maybe(SCAN),
        "reproducer_script": maybe(Text("Its text, although no file was asked for.")),
    },
)
