"""Words for the slugs of the contract: those people use when they ask."""

from __future__ import annotations

import re
from dataclasses import dataclass

STATUS = {
    "failed": "Failed",
    "suspect": "Suspect",
    "healthy": "Healthy",
    "unreadable": "Unreadable",
}
STATUS_MEANING = {
    "failed": "training broke down",
    "suspect": "warnings, but no breakdown",
    "healthy": "no sign of a failure",
    "unreadable": "the files do not allow a verdict",
}
STATUS_SIGN = {"failed": "✖", "suspect": "▲", "healthy": "✔", "unreadable": "?"}

SEVERITY = {"error": "error", "warning": "warning", "info": "note"}
SEVERITY_SIGN = {"error": "✖", "warning": "▲", "info": "i"}

GRADE = {
    "fix_verified": "a fix was tried and the run survived",
    "reproduced": "the failure was reproduced",
    "observed_in_checkpoint": "seen in a checkpoint",
    "observed_in_logs": "seen in the logs",
    "inferred": "inferred, not observed",
}

TRIAL = {
    "fixed": "fixed",
    "delayed": "only delayed",
    "still_fails": "still fails",
    "not_applicable": "does not apply",
}
TRIAL_SIGN = {"fixed": "✔", "delayed": "▲", "still_fails": "✖", "not_applicable": "–"}

REPLAY = {
    "reproduced": "The failure was reproduced.",
    "not_reproduced": "The failure did not happen again.",
    "not_run": "No replay was run.",
    "crashed": "The replay crashed.",
}

DETERMINISM = {
    "bitwise": "bit for bit the same in every repetition",
    "tolerance": "the same within rounding",
    "none": "not established",
}

SOURCE = {
    "entry_point": "your program",
    "recording": "the FlightRecorder's recording",
    "keras_file": "a saved Keras model",
    "saved_model": "a SavedModel",
    "debug_dump": "a dump of the TensorFlow debugger",
}

INSTRUMENT = {
    "own_trace": "a trace of every op, run one by one",
    "debug_dump": "the TensorFlow debugger (tfdbg2), in graph mode",
    "compiled_ops": "compiling the ops of the step one by one, as XLA does",
    "inlined_graph": "running the inlined graph with every tensor as an output",
    "check_numerics": "enable_check_numerics",
    "error_message": "the error that was raised",
}

BLAME = {
    "user": "The program's.",
    "framework_defect": "Probably the framework's.",
    "hardware_suspected": "The hardware is suspected.",
    "undecided": "Undecided.",
}

CHECKPOINT_SIGN = {"clean": "●", "poisoned": "✖", "damaged": "▲"}
CHECKPOINT = {
    "clean": "clean: every value is finite",
    "poisoned": "poisoned: holds NaN or Inf",
    "damaged": "damaged: could not be read whole",
}

STEP_SOURCE = {
    "variable": "a step variable in it",
    "file_name": "its file name",
    "iterations": "the optimizer's iterations (a lower bound)",
    "save_counter": "its save counter",
}

INPUT_STATE = {
    "complete": "complete",
    "incomplete_tail": "last record cut off",
    "damaged": "damaged",
    "live": "still being written",
    "denied": "no permission",
    "limit": "not fully examined (limit)",
}

PHASE = {
    "input": "the input",
    "forward": "the forward pass",
    "loss": "the loss",
    "backward": "the backward pass",
    "optimizer": "the optimizer's update",
    "state": "the state restored at the start",
    "metric": "a metric",
}

QUANTITY = {
    "train_loss": "Training loss",
    "validation_loss": "Validation loss",
    "gradient_norm": "Gradient norm",
    "weight_norm": "Weight norm",
    "update_ratio": "Update ratio",
    "learning_rate": "Learning rate",
    "loss_scale": "Loss scale",
    "activation_mean": "Activation mean",
    "activation_std": "Activation spread",
    "activation_zero_fraction": "Share of zero activations",
    "metric": "Metric",
    "other": "Other",
}

CHANGE = {
    "level": "changed its level",
    "slope": "changed its slope",
    "variance": "changed its noise",
    "spike": "spiked",
    "blow_up": "blew up",
    "slow_blow_up": "blew up slowly",
    "divergence": "began to diverge",
    "level_rise": "rose to a higher level",
    "level_drop": "fell to a lower level",
    "variance_rise": "became noisier",
    "oscillation": "began to oscillate",
    "gradient_collapse": "collapsed",
    "plateau": "stopped falling",
    "recovered_rise": "rose and recovered",
    "gradient_non_finite": "became NaN or Inf",
    "non_finite": "became NaN or Inf",
}

CAUSE = {
    "exploding_gradients": (
        "Gradients grow through the layers or over time until a weight overflows."
    ),
    "vanishing_gradients": "Gradients die on the way to the first layers, so nothing is learnt.",
    "learning_rate_too_high": (
        "The step size is too large for the curvature of the loss: it oscillates, diverges or "
        "blows up."
    ),
    "learning_rate_too_low": "There is no progress although the gradients are healthy.",
    "unstable_loss": (
        "The loss function itself leaves its domain: log(0), an overflow of exp, a division by 0."
    ),
    "unsafe_operation": (
        "An op of the model leaves its domain: the slope of sqrt at 0, 0/0, an overflow of exp or "
        "pow, a masked branch of tf.where."
    ),
    "non_finite_data": "There is NaN or Inf in the inputs, labels or sample weights.",
    "data_scale": "Inputs or targets are not normalised, or an outlier is orders of magnitude off.",
    "label_out_of_range": "A label is outside what the loss accepts, e.g. a class index ≥ classes.",
    "bad_initialization": "The weights start too large, too small or all equal.",
    "precision_overflow": "A value left the range or the resolution of float16 or bfloat16.",
    "loss_activation_mismatch": (
        "The last activation, the loss, from_logits or the label encoding do not belong together."
    ),
    "dead_units": "ReLU units are off for (nearly) every input.",
    "saturated_activations": "Sigmoid or tanh units are pinned at their ends.",
    "optimizer_state": "The optimizer's own memory is poisoned, or its epsilon is too small.",
    "poisoned_start": "The run started from weights that were bad already.",
    "resume_mismatch": "What was restored is not what was saved.",
    "replica_divergence": "The workers or replicas disagree.",
    "hardware_suspected": "It does not reproduce elsewhere, or only sometimes.",
    "framework_defect": (
        "The operands are in range and a float64 reference is finite, but the kernel's "
        "answer is not."
    ),
    "regularization_dominates": "The penalty swamps the loss on the data.",
    "overfitting": "The validation loss leaves the training loss.",
    "plateau": "The loss stopped falling before it should.",
    "corrupt_evidence": "The files themselves are damaged so that no cause can be given.",
    "healthy": "Nothing wrong was found; what was checked is listed.",
    "unknown": "Something is wrong, but no cause is likely enough to be named.",
}


@dataclass(frozen=True, slots=True)
class Advice:
    """Why a family of findings matters and how such a finding is ruled out."""

    why: str
    rule_out: str


# By the letters of the code; a finding that brings words of its own is shown with those.
FAMILY = {
    "NUM": Advice(
        "A NaN or Inf never goes away by itself: after the next update every weight that it "
        "reaches is NaN too, and the rest of the run is wasted.",
        "Metrics, masks and skipped loss-scale steps may hold NaN or Inf without harm: look "
        "whether the loss and the weights stayed finite at this step.",
    ),
    "LOS": Advice(
        "The loss is what training minimises; when it rises and stays up, the weights get worse.",
        "Restarts, changes of the learning rate and harder data raise a loss for a while: look "
        "whether it came back below its earlier level.",
    ),
    "GRD": Advice(
        "The gradients set the size of every update: when they explode the weights jump, when they "
        "vanish the first layers stop learning.",
        "A short spike that the next steps take back is normal: look whether the norm stayed off "
        "its earlier level.",
    ),
    "WGT": Advice(
        "The weights are what the run produces; a checkpoint that holds bad ones cannot be "
        "resumed.",
        "Compare with the checkpoint before it, and look whether only unused tensors are "
        "concerned.",
    ),
    "ACT": Advice(
        "A layer whose units are dead or pinned passes no gradient on, so it stops learning.",
        "Some zeros after a ReLU are normal: look at the share over several batches.",
    ),
    "OPT": Advice(
        "The optimizer's settings and its memory decide how far every step goes.",
        "Look whether the change was planned: a schedule, a warm-up or a restart.",
    ),
    "DAT": Advice(
        "What the batch holds goes into the loss directly; one bad row is enough.",
        "Look at the rows named here in the data itself, before any preprocessing.",
    ),
    "CKP": Advice(
        "A checkpoint that cannot be trusted is no place to resume from.",
        "Read it with tf.train.load_checkpoint where it was written, and compare the file sizes.",
    ),
    "LOG": Advice(
        "What was not logged, or was logged wrongly, cannot be judged.",
        "Look whether other files of the run hold what is missing here.",
    ),
}


def plain(slug: str | None) -> str:
    """Return a slug as words: learning_rate_too_high -> learning rate too high."""
    if slug is None:
        return "unknown"
    words = slug.removeprefix("x-").replace("_", " ").replace("-", " ")
    return words.replace("non finite", "non-finite")


def variable(name: str) -> str:
    """Return a variable's name without the suffix that every one has in a tensor bundle."""
    return name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")


def sentence(text: str, stop: str = ".") -> str:
    """Return a text that starts with a capital, unless with a name, and ends with a full stop."""
    text = text.strip()
    first = re.match(r"[a-z]+(?=[ ,:;]|$)", text)
    if first:
        text = text[0].upper() + text[1:]
    return text + stop if text and (text[-1].isalnum() or text[-1] in ")]'\"%") else text


def advice(code: str) -> Advice | None:
    """Return what is known of a finding's family, None for third parties' codes."""
    return FAMILY.get(code[:3])
