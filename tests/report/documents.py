"""Whole documents, as the pipeline makes them, for every kind of ending."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from forensics.domain.diagnosis import Cause, Diagnosis, Grade, Remedy
from forensics.domain.evidence import (
    BatchEvidence,
    ConfigEvidence,
    CurveEvidence,
    Evidence,
    FileEvidence,
    LayerEvidence,
    OpEvidence,
    TensorEvidence,
)
from forensics.domain.findings import ChangePoint, Finding, LeadIndicator, NotChecked, Severity
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.replay import (
    Attempt,
    BenignOp,
    Blame,
    CheckNumerics,
    LayerObservation,
    Origin,
    Phase,
    Reference,
    ReplayResult,
    ReplayStatus,
    ScannedBatch,
    ScanResult,
    SourceLine,
    Trial,
    TrialStatus,
    WhoseBug,
)
from forensics.domain.report import SCHEMA_VERSION, Report, encode
from forensics.domain.run import InputFile, InputState, ReadWarning, TensorKind, TensorStats

Document = dict[str, Any]

FAILED_AT = 108
STEPS = 500


def nan_report() -> Report:
    """A run whose loss became NaN at step 108, replayed, with a verified fix."""
    document = _bare("cnn-9000")
    document |= {
        "verdict": {
            "status": "failed",
            "headline": "loss became NaN at step 108: `Log` of zero in the loss (train.py:42)",
            "first_bad_step": FAILED_AT,
            "first_bad_step_interval": [FAILED_AT, FAILED_AT],
            "step_axis": "batch",
            "first_bad_tag": "batch_loss",
            "cause": "unstable_loss",
            "confidence": 0.86,
            "grade": "fix_verified",
            "signature": "unstable_loss:Log:loss:NUM001",
        },
        "series": _failing_series(),
        "layers": encode(_layers()),
        "findings": encode(_findings()),
        "not_checked": encode(
            [
                NotChecked(
                    "ACT001",
                    "no histograms of activations were logged",
                    ("activation_zero_fraction",),
                    "keras.callbacks.TensorBoard(logdir, histogram_freq=1)",
                ),
                NotChecked("DAT002", "the data set was not given", ("dataset",)),
            ]
        ),
        "change_points": encode(_change_points()),
        "lead_indicators": encode([LeadIndicator("gradient_norm", 74, 34)]),
        "checkpoints": _checkpoints(),
        "last_finite_checkpoint": "ckpt/ckpt-100",
        "last_checkpoint_before_onset": "ckpt/ckpt-100",
        "first_poisoned_checkpoint": "ckpt/ckpt-110",
        "replay": _contract_replay(encode(_replay())),
        "diagnoses": encode(_diagnoses()),
    }
    return Report(document)


def healthy_report() -> Report:
    """A run without a finding, not replayed."""
    document = _bare("cnn-100")
    document |= {
        "verdict": {
            "status": "healthy",
            "headline": "nothing wrong was found in 500 steps",
            "first_bad_step": None,
            "first_bad_step_interval": None,
            "step_axis": "batch",
            "first_bad_tag": None,
            "cause": "healthy",
            "confidence": 0.97,
            "grade": "observed_in_logs",
            "signature": None,
        },
        "series": [
            series("batch_loss", "train", "train_loss", [(s, _falling(s)) for s in range(STEPS)]),
            series(
                "epoch_loss",
                "validation",
                "validation_loss",
                [(e, 2.3 * 0.8**e + 0.2) for e in range(10)],
                axis="epoch",
            ),
        ],
        "diagnoses": encode(
            [
                Diagnosis(
                    Cause.HEALTHY,
                    0.97,
                    Grade.OBSERVED_IN_LOGS,
                    "The loss falls from 2.3 to 0.06 and every value is finite.",
                    (),
                    (),
                    (),
                )
            ]
        ),
        "checkpoints": [
            {
                "path": f"ckpt/ckpt-{s}",
                "step": s,
                "step_source": "variable",
                "status": "clean",
                "bad_tensors": [],
            }
            for s in range(100, 600, 100)
        ],
        "last_finite_checkpoint": "ckpt/ckpt-500",
    }
    return Report(document)


def unreadable_report() -> Report:
    """Files so damaged that there is no verdict."""
    document = _bare("half-copied")
    warnings = [
        ReadWarning(
            "train/events.out.tfevents.1.v2",
            0,
            "bad_length",
            "the record claims 1,099,511,627,776 bytes, 143 are left; nothing was kept",
        ),
        ReadWarning("ckpt/ckpt-1.index", None, "missing_shard", "its data file is missing"),
    ]
    document |= {
        "verdict": {
            "status": "unreadable",
            "headline": "no verdict: the only event file is damaged from its first byte",
            "first_bad_step": None,
            "first_bad_step_interval": None,
            "step_axis": None,
            "first_bad_tag": None,
            "cause": "corrupt_evidence",
            "confidence": None,
            "grade": None,
            "signature": None,
        },
        "run": document["run"] | {"n_points": 0, "first_step": None, "last_step": None},
        "findings": encode(
            [
                Finding(
                    "LOG001",
                    "damaged_event_file",
                    Severity.ERROR,
                    "an event file is damaged from its first byte",
                    None,
                    None,
                    StepAxis.BATCH,
                    (FileEvidence("train/events.out.tfevents.1.v2", 0, "length out of range"),),
                )
            ]
        ),
        "warnings": encode(warnings),
        "inputs": encode(
            [InputFile(warnings[0].path, "events", 155, "ab" * 32, InputState.DAMAGED)]
        ),
    }
    return Report(document)


def null_report() -> Report:
    """Everything that may be null is null, as after a replay that died before its first word."""
    document = _bare("silent")
    document["config"] = dict.fromkeys(document["config"])
    document["environment"] |= {"recorded": None, "replayed": None}
    document["run"] |= {
        "writers": [],
        "n_points": 0,
        **dict.fromkeys(("first_step", "last_step", "wall_time_start", "wall_time_end")),
    }
    document["verdict"] = {
        "status": "suspect",
        "headline": "the replay crashed before its first answer",
        **dict.fromkeys(
            (
                "first_bad_step",
                "first_bad_step_interval",
                "step_axis",
                "first_bad_tag",
                "cause",
                "confidence",
                "grade",
                "signature",
            )
        ),
    }
    document["replay"] = dict.fromkeys(document["replay"]) | {"status": "crashed"}
    document["layers"] = None
    return Report(document)


def epoch_report() -> Report:
    """Only epochs were logged: the failure is somewhere in one of them."""
    document = _bare("per-epoch")
    losses = [(e, 2.0 * 0.5**e if e < 3 else math.nan) for e in range(8)]
    document |= {
        "run": document["run"] | {"step_axis": "epoch", "first_step": 0, "last_step": 7},
        "verdict": nan_report().verdict
        | {
            "headline": "epoch_loss became NaN in epoch 3",
            "first_bad_step": 3,
            "first_bad_step_interval": [3, 3],
            "step_axis": "epoch",
            "first_bad_tag": "epoch_loss",
            "cause": "unknown",
            "confidence": 0.3,
            "grade": "inferred",
        },
        "series": [series("epoch_loss", "train", "train_loss", losses, axis="epoch")],
    }
    return Report(document)


def big_report(n_series: int = 12, points: int = 2000) -> Report:
    """A run with many long series, as they come out of the downsampling."""
    document = nan_report().to_dict()
    kinds = ["train_loss", "validation_loss", "gradient_norm", "learning_rate"]
    dice = random.Random(7)
    document["series"] = []
    for index in range(n_series):
        kind = kinds[index] if index < len(kinds) else "other"
        values = [(s * 500, math.exp(dice.gauss(0, 2))) for s in range(points)]
        made = series(f"layer_{index}/value", "train", kind, values)
        made["low"] = [v * 0.5 for v in made["values"]]
        made["high"] = [v * 2 for v in made["values"]]
        document["series"].append(made)
    document["verdict"] = {
        **document["verdict"],
        "first_bad_step": 950_000,
        "first_bad_step_interval": [949_500, 950_000],
    }
    return Report(document)


def series(
    tag: str,
    writer: str,
    quantity: str,
    points: Sequence[tuple[int, float]],
    axis: str = "batch",
) -> Document:
    """A section of ``series``; points that are not finite go where the contract puts them."""
    finite = [(s, v) for s, v in points if math.isfinite(v)]
    return {
        "tag": tag,
        "writer": writer,
        "quantity": quantity,
        "step_axis": axis,
        "steps": [s for s, _ in finite],
        "values": [v for _, v in finite],
        "low": [v for _, v in finite],
        "high": [v for _, v in finite],
        "nonfinite": [
            {"step": s, "value": encode(float(v))} for s, v in points if not math.isfinite(v)
        ],
    }


def _bare(name: str) -> Document:
    """A document with every section, nothing found."""
    replay = _contract_replay(
        encode(ReplayResult(ReplayStatus.NOT_RUN, "no replay was asked for (--replay)"))
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "tf-forensics", "version": "0.1.0"},
        "run": {
            "name": name,
            "writers": [{"name": "train"}, {"name": "validation"}],
            "n_points": 1510,
            "first_step": 0,
            "last_step": STEPS - 1,
            "step_axis": "batch",
            "wall_time_start": 1.75e9,
            "wall_time_end": 1.75e9 + 754.2,
        },
        "environment": {
            "recorded": {"tensorflow": "2.21.0"},
            "analysed": {"python": "3.11.9", "platform": "Linux x86_64"},
            "replayed": None,
        },
        "config": {
            "optimizer": "Adam",
            "learning_rate": 0.001,
            "loss": "my_loss",
            "activations": ["relu", "softmax"],
            "dtype_policy": "float32",
            "batch_size": None,
        },
        "inputs": encode(
            [
                InputFile("train/events.out.tfevents.0.v2", "events", 81342, "0f" * 32, s)
                for s in (InputState.COMPLETE, InputState.INCOMPLETE_TAIL)
            ]
        ),
        "limits": {
            "preset": "default",
            "values": {
                "NUM001": {},
                "GRD001": {"fold": 10.0, "steps": 5},
                "LOS001": {"fold": 3.0},
                "WGT001": {},
            },
        },
        "verdict": {},
        "series": [],
        "layers": None,
        "findings": [],
        "not_checked": [],
        "change_points": [],
        "lead_indicators": [],
        "checkpoints": [],
        "last_finite_checkpoint": None,
        "last_checkpoint_before_onset": None,
        "first_poisoned_checkpoint": None,
        "replay": replay,
        "diagnoses": [],
        "warnings": [],
    }


def _contract_replay(replay: Document) -> Document:
    """The replay as the document holds it: what has a section of its own is not repeated."""
    return {k: v for k, v in replay.items() if k not in ("observation", "config", "environment")}


def _falling(step: int) -> float:
    return 2.3 * math.exp(-step / 40) + 0.05 + 0.03 * math.sin(step * 1.7)


def _failing_series() -> list[Document]:
    loss = [
        (s, _falling(s) if s < 90 else _falling(s) * 4 ** (s - 90)) for s in range(FAILED_AT)
    ] + [(s, math.nan) for s in range(FAILED_AT, STEPS)]
    norm = [(s, 0.8 + 0.2 * math.sin(s)) for s in range(74)]
    norm += [(s, 1.2 ** (s - 70)) for s in range(74, FAILED_AT)]
    norm += [(s, math.inf if s == FAILED_AT else math.nan) for s in range(FAILED_AT, STEPS)]
    rate = [(s, 1e-3 if s < 60 else 3e-3) for s in range(STEPS)]
    accuracy = [(s, min(0.95, 0.1 + s / 120) if s < FAILED_AT else 0.1) for s in range(STEPS)]
    validation = [(0, 1.9), (1, 0.8), (2, math.nan), (3, math.nan), (4, math.nan)]
    return [
        series("batch_loss", "train", "train_loss", loss),
        series("epoch_loss", "validation", "validation_loss", validation, axis="epoch"),
        series("gradient_norm", "train", "gradient_norm", norm),
        series("learning_rate", "train", "learning_rate", rate),
        series("batch_accuracy", "train", "metric", accuracy),
    ]


def _layers() -> list[LayerObservation]:
    names = ("conv2d", "max_pooling2d", "flatten", "dense", "dense_1")
    return [
        LayerObservation(
            name,
            kind="Dense" if "dense" in name else None,
            activation="relu",
            gradient_norm=math.inf if name == "dense_1" else 10.0**i,
            weight_norm=3.2 + i,
            update_ratio=0.003 * 10**i,
            activation_mean=0.3,
            activation_std=0.5,
            zero_fraction=0.41,
            nan=0,
            inf=12 if name == "dense_1" else 0,
        )
        for i, name in enumerate(names)
    ]


def _findings() -> list[Finding]:
    every: tuple[Evidence, ...] = (
        TensorEvidence("ckpt/ckpt-110", "dense_1/kernel", TensorKind.WEIGHT, 110, 320, 0, 0, 320),
        OpEvidence("Log", "my_loss/Log", None, "loss", FAILED_AT, "−Inf of a zero"),
        BatchEvidence("x", FAILED_AT, (3, 4, 5, 17), 255.0, 1.0, "largest magnitude"),
        LayerEvidence("dense_1", FAILED_AT, 1e9, 100.0, "× the first layer"),
        ConfigEvidence("from_logits", "False", "True, because the last layer is linear"),
    )
    return [
        Finding(
            "NUM001",
            "non_finite_scalar",
            Severity.ERROR,
            "batch_loss is NaN from step 108 on and never recovers",
            FAILED_AT,
            (FAILED_AT, FAILED_AT),
            StepAxis.BATCH,
            (CurveEvidence("batch_loss", 108, 499, StepAxis.BATCH, math.nan, None, ""),),
        ),
        Finding(
            "WGT001",
            "non_finite_weights",
            Severity.ERROR,
            "7 of 8 weights of ckpt/ckpt-110 hold NaN",
            110,
            (101, 110),
            StepAxis.BATCH,
            every,
        ),
        Finding(
            "GRD001",
            "exploding_gradients",
            Severity.WARNING,
            "the gradient norm grew 480-fold in the 34 steps before the failure",
            74,
            (70, 78),
            StepAxis.BATCH,
            (CurveEvidence("gradient_norm", 74, 107, StepAxis.BATCH, 480.0, 10.0, "× usual"),),
            p_value=0.0004,
        ),
    ]


def _change_points() -> list[ChangePoint]:
    batch = StepAxis.BATCH
    loss, norm = Quantity.TRAIN_LOSS, Quantity.GRADIENT_NORM
    return [
        ChangePoint("gradient_norm", norm, 74, batch, (70, 78), 0.95, "level", 1e-4, 12.0),
        ChangePoint("batch_loss", loss, 92, batch, (90, 94), 0.95, "blow_up", None, 4100.0),
        ChangePoint(
            "batch_loss", loss, FAILED_AT, batch, (108, 108), None, "non_finite", None, None
        ),
    ]


def _checkpoints() -> list[Document]:
    bad = [
        {"name": f"layer_{i}/kernel", "kind": kind, "nan": 320, "pos_inf": i, "neg_inf": 0}
        | {"count": 320 + i}
        for i in range(9)
        for kind in ("weight", "slot")
    ]
    return [
        {
            "path": f"ckpt/ckpt-{s}",
            "step": s,
            "step_source": "file_name",
            "status": "poisoned" if s > FAILED_AT else "clean",
            "bad_tensors": bad if s > FAILED_AT else [],
        }
        for s in range(10, 210, 10)
    ] + [
        {
            "path": "ckpt/ckpt-210",
            "step": None,
            "step_source": None,
            "status": "damaged",
            "bad_tensors": [],
        }
    ]


def _tensor(name: str, low: float, high: float, **bad: int) -> TensorStats:
    counts = {"nan": 0, "pos_inf": 0, "neg_inf": 0, "zero": 0} | bad
    return TensorStats(
        name=name,
        kind=TensorKind.OTHER,
        shape=(32, 10),
        dtype="float32",
        count=320,
        min=low,
        max=high,
        mean=(low + high) / 2,
        std=0.29,
        l2_norm=5.5,
        **counts,
    )


def _replay() -> ReplayResult:
    origin = Origin(
        "Log",
        "my_loss/Log",
        0,
        "float32",
        (32, 10),
        None,
        Phase.LOSS,
        source=SourceLine("train.py", 42, "my_loss", "    log_p = tf.math.log(p)"),
        inputs=(_tensor("p", 0.0, 1.0, zero=3),),
        outputs=(_tensor("log_p", -15.2, 0.0, neg_inf=3),),
    )
    other = Origin(
        "SqrtGrad",
        "gradient_tape/norm/SqrtGrad",
        0,
        "float32",
        (32,),
        "norm",
        Phase.BACKWARD,
        forward_op_type="Sqrt",
    )
    return ReplayResult(
        ReplayStatus.REPRODUCED,
        "the loss of step 108 is NaN again",
        device="CPU",
        step=FAILED_AT,
        started_from="ckpt/ckpt-100",
        attempts=(
            Attempt("graph", "CPU", 7, "NaN loss", 3, 3),
            Attempt("eager", "CPU", 7, "NaN loss", 1, 1),
        ),
        determinism="bitwise",
        unreplayable_ops=("RandomUniform",),
        sandbox=("child process", "no network"),
        origin=origin,
        other_origins=(other,),
        benign=(BenignOp("Log", "mask/Log", "masked by tf.where before anything reads it"),),
        chain=("my_loss/Log", "my_loss/mul", "my_loss/Mean"),
        check_numerics=CheckNumerics(
            "Log", "my_loss/Log", "Detected Infinity or NaN in output 0 of graph op Log"
        ),
        samples=(3, 4, 5, 17),
        minimal_batch=(17,),
        collective=False,
        culprits=((3, 4, 5), (17,)),
        row_notes=("BatchNorm in layer bn couples the rows of this batch",),
        whose_bug=WhoseBug(
            Blame.USER,
            "the logarithm of 0 is not finite in float64 either",
            (
                Reference("NumPy float64", False, "-Inf in 1 of 32"),
                Reference("XLA", None, "not run: no time left"),
            ),
        ),
        scan=ScanResult(
            "ckpt/ckpt-100",
            180,
            False,
            (ScannedBatch(108, math.nan, math.nan, True, (3,)), ScannedBatch(7, 2.5, 31.0, False)),
            5,
            2,
        ),
        source="entry_point",
        instrument="own_trace",
        degradations=("the layers after pool_2 were not traced: 9.1 GB of 4 GB",),
        reproducer_script="import tensorflow as tf\n\nprint(tf.math.log(0.0))  # <b>\n",
        trials=(
            _trial("clip_global_norm", "clipnorm=1.0", TrialStatus.DELAYED, 31),
            _trial("lower_learning_rate", "lr / 10", TrialStatus.STILL_FAILS, 9),
            _trial("safe_log", "log(p + 1e-7)", TrialStatus.FIXED, 50),
        ),
        reproducer="reproduce_step_108.py",
        symptom="loss",
    )


def _trial(remedy: str, change: str, status: TrialStatus, survived: int) -> Trial:
    after = 0.21 if status is TrialStatus.FIXED else math.nan
    return Trial(remedy, change, status, "fails after 8 steps", survived, 50, 0.31, after, 0)


def _diagnoses() -> list[Diagnosis]:
    return [
        Diagnosis(
            Cause.UNSTABLE_LOSS,
            0.86,
            Grade.FIX_VERIFIED,
            "The loss takes the logarithm of a probability that reached 0.",
            ("NUM001", "WGT001"),
            (),
            (
                Remedy(
                    "safe_log",
                    "A small constant keeps the logarithm finite.",
                    "log_p = tf.math.log(p + 1e-7)",
                    "fixed",
                ),
                Remedy(
                    "from_logits",
                    "Keras computes the logarithm of a softmax stably from the logits.",
                    "model.compile(\n    loss=keras.losses.CategoricalCrossentropy("
                    "from_logits=True),\n)",
                ),
            ),
            next_check="Whether the run also fails with a tenth of the learning rate.",
        ),
        Diagnosis(
            Cause.EXPLODING_GRADIENTS,
            0.41,
            Grade.OBSERVED_IN_LOGS,
            "The gradient norm grew before the loss did.",
            ("GRD001",),
            (),
            (
                Remedy(
                    "clip_global_norm",
                    "Bounds every step.",
                    "Adam(1e-3, clipnorm=1.0)",
                    "delayed",
                ),
            ),
        ),
        Diagnosis(
            Cause.NON_FINITE_DATA,
            0.02,
            Grade.REPRODUCED,
            "The batch of step 108 holds finite values only.",
            (),
            ("NUM001", "DAT009"),
            (),
        ),
    ]


ALL = {
    "nan": nan_report,
    "healthy": healthy_report,
    "unreadable": unreadable_report,
    "null": null_report,
    "epoch": epoch_report,
}
