"""Every cause: what it means, how common it is, what speaks for and against it, what helps.

Weights are natural logarithms of likelihood ratios, chosen by hand and rounded to halves: about 6
settles a case alone, 3 is strong (`STRONG`), 1 is a hint. They order causes; they are not measured
frequencies. `PRIORS` are the shares we expect among failed runs from what people report (questions
and issues about NaN losses are mostly logarithms, divisions, step sizes and data), before anything
is seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forensics.diagnosis.clues import Sign
from forensics.domain.diagnosis import Cause

STRONG = 3.0
"""Weight from which a sign shows the cause itself; what only weaker ones support is inferred."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a cause.

    Parameters
    ----------
    meaning : str
        One clause, as in the report's vocabulary.
    prior : float
        Share among failed runs, between 0 and 1.
    weights : mapping of Sign to float
        Log likelihood ratio of each sign; negative ones contradict.
    remedies : tuple of str
        Slugs of remedies, the first to try first.
    decide : str
        What to look at to tell this cause from others.
    """

    meaning: str
    prior: float
    weights: Mapping[Sign, float]
    remedies: tuple[str, ...]
    decide: str


S = Sign
CATALOGUE: dict[Cause, Entry] = {
    Cause.EXPLODING_GRADIENTS: Entry(
        "gradients grow through the layers or over time until a weight overflows",
        0.08,
        {
            S.GROWTH_LATER: 3.0, S.GROWTH_FIRST_STEP: 1.0, S.OPTIMIZER_OVERFLOW: 2.5,
            S.GROWN_GRADIENTS: 3.0, S.JUMPED_GRADIENTS: 1.0, S.GROWN_LOSS: 2.5, S.DIVERGED: 2.0,
            S.CLIP_FIXES_GROWTH: 1.5, S.RATE_NO_HELP: 0.5, S.CLIP_NO_HELP: -1.5,
            S.SMALLER_STEPS_LEARN: 1.0,
            S.SPIKE_BEFORE_DEATH: 2.0, S.INF_FIRST: 0.5, S.SUDDEN: -1.5, S.BATCH_OUTLIER: -1.0,
            S.VANISHING: -3.0, S.RATE_LARGE: 0.5, S.HUGE_AT_START: 1.5,
            S.RECOVERS: -2.0, S.ROSE: 0.5,
        }, ("clip_global_norm", "learning_rate_div_10", "normalise_layers", "he_initialisation"),
        "log the gradient norm of every layer: growth towards the first layers speaks for "
        "exploding gradients",
    ),
    Cause.LEARNING_RATE_TOO_HIGH: Entry(
        "the step size makes the loss oscillate, diverge or blow up",
        0.10,
        {
            S.GROWTH_LATER: 3.0, S.GROWTH_FIRST_STEP: -4.0, S.OPTIMIZER_OVERFLOW: 1.5,
            S.GROWN_GRADIENTS: 2.0, S.GROWN_LOSS: 2.5, S.DIVERGED: 2.5, S.RATE_ROSE: 4.0,
            S.RATE_LARGE: 1.5, S.RATE_FIXES_GROWTH: 2.0, S.RATE_DELAYS: 1.0, S.RATE_NO_HELP: -1.5,
            S.SMALLER_STEPS_LEARN: 2.5,
            S.SPIKE_BEFORE_DEATH: 4.5, S.OSCILLATES: 1.5, S.STALLED: 0.5, S.SUDDEN: -1.5,
            S.ROSE: 1.0,
            S.BATCH_OUTLIER: -1.5, S.VANISHING: -3.0, S.RATE_TINY: -4.0,
            S.HUGE_AT_START: -3.0, S.RECOVERS: -2.0,
        },
        ("learning_rate_div_10", "warm_up", "clip_global_norm"),
        "run the same steps from the last clean checkpoint with a tenth of the learning rate",
    ),
    Cause.LEARNING_RATE_TOO_LOW: Entry(
        "no progress although gradients are healthy",
        0.01,
        {S.RATE_TINY: 6.0, S.STALLED: 1.0, S.RATE_LARGE: -4.0, S.DIVERGED: -3.0, S.ROSE: -1.0},
        ("learning_rate_times_10",),
        "raise the learning rate ten-fold and compare the first hundred steps",
    ),
    Cause.UNSTABLE_LOSS: Entry(
        "the loss leaves its domain: a logarithm of 0, an overflowing exponential, a division by 0",
        0.11,
        {
            S.DOMAIN_LOSS: 5.0, S.DOMAIN_BACKWARD: 4.0, S.DOMAIN_LAYER: 2.0, S.HALF_ROUNDING: 0.0,
            S.SUDDEN: 1.2, S.INF_FIRST: 1.0, S.FIX_BY_CHANCE: 0.3, S.SLOTS_FIRST: -1.5,
            S.GROWN_LOSS: -0.5, S.AT_ONCE: 1.2, S.RECOVERS: 1.0,
            S.GRADIENT_NAN_FIRST: 0.5, S.LOSS_NAN_ALONE: 2.0,
        },
        ("from_logits", "safe_log", "safe_division", "safe_exp"),
        "look at the smallest operand of the logarithm or division in the loss at the failing step",
    ),
    Cause.UNSAFE_OPERATION: Entry(
        "an operation of the model leaves its domain: the root or norm of 0, 0/0, a power, an "
        "exponential, a masked tf.where branch",
        0.13,
        {
            S.DOMAIN_LAYER: 5.0, S.DOMAIN_BACKWARD: 5.0, S.DOMAIN_LOSS: 4.0, S.SUDDEN: 1.5,
            S.RAISED: 1.5, S.FIX_BY_CHANCE: 0.3, S.SLOTS_FIRST: -1.5,
            S.GROWN_LOSS: -0.5, S.AT_ONCE: 1.0, S.RECOVERS: 1.0,
            S.GRADIENT_NAN_FIRST: 2.0, S.LOSS_NAN_ALONE: 0.5,
        },
        (
            "safe_sqrt", "safe_division", "double_where", "safe_log", "safe_exp", "clip_operand",
            "regularise_matrix",
        ),
        "look at the operands of the op at the failing step: a zero that the op has no value or no "
        "derivative for",
    ),
    Cause.NON_FINITE_DATA: Entry(
        "NaN or Inf in inputs, labels or sample weights",
        0.10,
        {
            S.INPUT_NON_FINITE: 7.0, S.SUDDEN: 1.3, S.INF_FIRST: 0.3, S.GROWN_LOSS: -1.0,
            S.SLOTS_FIRST: -1.5,
        },
        ("check_data", "drop_bad_rows"),
        "check the batches around the failing step with np.isfinite",
    ),
    Cause.DATA_SCALE: Entry(
        "inputs or targets not normalised, or an outlier orders of magnitude off",
        0.08,
        {
            S.BATCH_OUTLIER: 5.5, S.NOT_NORMALISED: 2.5, S.IMPLAUSIBLE_FIRST_LOSS: 3.0,
            S.JUMPED_GRADIENTS: 2.5, S.INF_FIRST: 1.0, S.GROWTH_FIRST_STEP: 1.0,
            S.GROWTH_LATER: 0.5, S.OPTIMIZER_OVERFLOW: 0.5, S.SUDDEN: 0.3, S.AT_ONCE: 0.7,
            S.HUGE_AT_START: 1.5, S.SLOTS_FIRST: 1.5,
        },
        ("normalise_inputs", "drop_outliers", "robust_loss"),
        "compare the largest magnitude of the failing batch with that of the batches before",
    ),
    Cause.LABEL_OUT_OF_RANGE: Entry(
        "a class index outside [0, C), a negative count or the like",
        0.03,
        {S.LABEL_RANGE: 8.0, S.SUDDEN: 1.0, S.AT_ONCE: 0.7},
        ("check_labels",),
        "compare the smallest and largest label with the number of output units",
    ),
    Cause.BAD_INITIALIZATION: Entry(
        "weights start too large, too small or all equal",
        0.04,
        {
            S.GROWTH_FIRST_STEP: 4.0, S.WIDE_KERNELS: 3.0, S.GROWTH_LATER: -1.0, S.VANISHING: 1.5,
            S.IMPLAUSIBLE_FIRST_LOSS: 1.0, S.SUDDEN: -2.0, S.RATE_FIXES_GROWTH: -1.0,
            S.BATCH_OUTLIER: -3.0, S.NOT_NORMALISED: -1.0, S.HUGE_AT_START: 3.5, S.AT_ONCE: 0.5,
        },
        ("he_initialisation", "normalise_layers"),
        "save a checkpoint at step 0 and compare the kernels' deviations with sqrt(2 / fan_in)",
    ),
    Cause.PRECISION_OVERFLOW: Entry(
        "the range or resolution of float16 or bfloat16 was left; float32 survives",
        0.05,
        {
            S.HALF_RANGE: 7.0, S.HALF_ROUNDING: 7.5, S.HALF_DOMAIN: 5.0, S.HALF_POLICY: 3.5,
            S.SCALE_COLLAPSED: 4.0, S.INF_FIRST: 0.3, S.RECOVERS: 0.7, S.BATCH_OUTLIER: -1.0,
        },
        ("float32_output", "loss_scaling", "bfloat16"),
        "run the failing step with the policy float32",
    ),
    Cause.LOSS_ACTIVATION_MISMATCH: Entry(
        "activation, loss, from_logits or label encoding do not belong together",
        0.04,
        {S.MISMATCH: 8.0, S.LOSS_NAN_ALONE: 2.5, S.AT_ONCE: 1.0, S.DOMAIN_LAYER: -0.5},
        ("match_loss", "from_logits"),
        "compare the last activation with what the loss expects",
    ),
    Cause.VANISHING_GRADIENTS: Entry(
        "gradients die on the way to the first layers; nothing is learnt",
        0.03,
        {S.VANISHING: 6.0, S.COLLAPSED: 4.5, S.SATURATED: 1.0, S.STALLED: 1.0, S.DIVERGED: -2.0},
        ("relu_he", "normalise_layers", "residual"),
        "log the gradient norm of every layer",
    ),
    Cause.DEAD_UNITS: Entry(
        "rectified units are off for (nearly) every input",
        0.04,
        {
            S.DEAD: 5.0, S.COLLAPSED: 4.0, S.SPIKE_BEFORE_DEATH: -0.5, S.STALLED: 1.0,
            S.SUDDEN: -1.0,
            S.GROWTH_LATER: -2.0, S.RATE_ROSE: -1.0,
        },
        ("leaky_relu", "learning_rate_div_10", "he_initialisation"),
        "log the share of zero activations per layer from the first step on",
    ),
    Cause.SATURATED_ACTIVATIONS: Entry(
        "sigmoid or tanh units are pinned at their ends",
        0.02,
        {S.SATURATED: 5.5, S.VANISHING: 1.5, S.STALLED: 1.0},
        ("normalise_inputs", "relu_he", "normalise_layers"),
        "log the share of activations within 1 % of the ends of their range",
    ),
    Cause.OPTIMIZER_STATE: Entry(
        "a slot of the optimizer is poisoned or its epsilon is below the dtype",
        0.03,
        {
            S.OPTIMIZER_OVERFLOW: 3.5, S.DOMAIN_OPTIMIZER: 6.5, S.SLOTS_FIRST: 4.0,
            S.GROWN_GRADIENTS: -1.0, S.CLIP_FIXES_GROWTH: 0.3,
        },
        ("reset_slots", "larger_epsilon", "clip_global_norm"),
        "compare slots and weights of the checkpoints around the failure",
    ),
    Cause.POISONED_START: Entry(
        "the run started from weights that were bad already",
        0.02,
        {S.STATE_BAD: 8.0, S.SUDDEN: -2.0},
        ("restore_clean",),
        "scan the checkpoint that the run was started from",
    ),
    Cause.PLATEAU: Entry(
        "the loss stopped falling before it should",
        0.02,
        {S.STALLED: 4.0, S.RATE_ROSE: -1.0},
        ("learning_rate_schedule", "leaky_relu"),
        "log gradient norms per layer and the share of zero activations",
    ),
    Cause.HARDWARE_SUSPECTED: Entry(
        "not reproducible although everything was restored",
        0.01,
        {S.NOT_REPRODUCED: 1.5, S.KERNEL_UNSTEADY: 10.0},
        ("repeat_elsewhere",),
        "repeat the step on another machine, and on this one several times",
    ),
    Cause.FRAMEWORK_DEFECT: Entry(
        "operands in range and a finite reference, but the kernel's answer is not finite",
        0.005,
        {S.KERNEL_WRONG: 10.0},
        ("report_defect",),
        "compare the kernel's answer with a float64 reference",
    ),
    Cause.RESUME_MISMATCH: Entry(
        "what was restored is not what was saved", 0.005, {}, ("restore_clean",),
        "compare the optimizer's slots and its iteration before and after the restart",
    ),
    Cause.REPLICA_DIVERGENCE: Entry(
        "workers or replicas disagree", 0.002, {}, (), "compare the variables of the replicas",
    ),
    Cause.REGULARIZATION_DOMINATES: Entry(
        "the penalty swamps the data loss", 0.005, {}, (), "log the data loss without penalties",
    ),
    Cause.OVERFITTING: Entry(
        "validation leaves training", 0.005, {}, (), "compare training and validation loss",
    ),
    Cause.CORRUPT_EVIDENCE: Entry(
        "the files themselves are damaged so that no cause can be given", 0.001, {}, (),
        "restore the files from a backup",
    ),
    Cause.UNKNOWN: Entry(
        "something is wrong and no cause reaches the floor of confidence",
        0.08,
        {S.NOT_REPRODUCED: 0.5, S.RAISED: 1.5},
        ("replay", "record"),
        "run the failing step again: forensics analyze LOGDIR --replay train.py:replay_case",
    ),
    Cause.HEALTHY: Entry(
        "nothing wrong found", 0.0, {}, (), "",
    ),
}  # fmt: skip
"""Every cause of the vocabulary; a test holds it complete."""
