from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.domain.quantity import Quantity
from forensics.sources.tags import Counting, is_residual, meaning

Q, C = Quantity, Counting

TABLE = [
    # Keras TensorBoard callback
    ("batch_loss", "train", Q.TRAIN_LOSS, C.BATCHES_OF_KERAS, None),
    ("epoch_loss", "train", Q.TRAIN_LOSS, C.EPOCHS, None),
    ("epoch_loss", "validation", Q.VALIDATION_LOSS, C.EPOCHS, None),
    ("epoch_loss", "tensorboard/validation", Q.VALIDATION_LOSS, C.EPOCHS, None),
    ("evaluation_loss_vs_iterations", "validation", Q.VALIDATION_LOSS, C.ITERATIONS, None),
    ("evaluation_accuracy_vs_iterations", "validation", Q.METRIC, C.ITERATIONS, None),
    ("batch_accuracy", "train", Q.METRIC, C.BATCHES_OF_KERAS, None),
    ("epoch_learning_rate", "train", Q.LEARNING_RATE, C.EPOCHS, None),
    ("epoch_lr", "train", Q.LEARNING_RATE, C.EPOCHS, None),
    ("batch_steps_per_second", "train", Q.OTHER, C.BATCHES_OF_KERAS, None),
    ("batch_grad_norm", "train", Q.GRADIENT_NORM, C.BATCHES_OF_KERAS, None),
    ("batch_learning_rate", "train", Q.LEARNING_RATE, C.BATCHES_OF_KERAS, None),
    # losses of custom loops
    ("loss", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("Loss", "train", Q.TRAIN_LOSS, C.UNSAID, None),
    ("loss", "val", Q.VALIDATION_LOSS, C.UNSAID, None),
    ("loss", "20240101-120000/test", Q.VALIDATION_LOSS, C.UNSAID, None),
    ("loss", "lr_test/train", Q.TRAIN_LOSS, C.UNSAID, None),
    ("train/loss", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("train/loss", "eval", Q.TRAIN_LOSS, C.UNSAID, None),
    ("train_loss", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("trainLoss", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("val_loss", ".", Q.VALIDATION_LOSS, C.UNSAID, None),
    ("Loss/validation", ".", Q.VALIDATION_LOSS, C.UNSAID, None),
    ("loss_1", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("losses/total", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("total_loss", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("g_loss", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("d_loss", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("train/ratio_loss", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("train/rate_loss", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("loss/weight_decay_penalty", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("gradient_penalty_loss", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("cross_entropy", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("nll", ".", Q.TRAIN_LOSS, C.UNSAID, None),
    ("train_loss_epoch", ".", Q.TRAIN_LOSS, C.MAYBE_EPOCHS, None),
    ("epoch", ".", Q.OTHER, C.UNSAID, None),
    # not losses
    ("loss_scale", ".", Q.LOSS_SCALE, C.UNSAID, None),
    ("train/loss_scale", ".", Q.LOSS_SCALE, C.UNSAID, None),
    ("amp/loss_scaling", ".", Q.LOSS_SCALE, C.UNSAID, None),
    ("loss_scale/good_steps", ".", Q.OTHER, C.UNSAID, None),
    ("loss_weight", ".", Q.OTHER, C.UNSAID, None),
    ("loss_ratio", ".", Q.OTHER, C.UNSAID, None),
    ("lossless_ratio", ".", Q.OTHER, C.UNSAID, None),
    ("glossary_size", ".", Q.OTHER, C.UNSAID, None),
    ("best_val_loss", ".", Q.METRIC, C.UNSAID, None),
    # gradient norms
    ("train/grad_norm", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("grad_norm/sequential/fc/kernel", ".", Q.GRADIENT_NORM, C.UNSAID, "sequential/fc/kernel"),
    ("global_gradient_norm", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("gradients/conv/kernel_norm", ".", Q.GRADIENT_NORM, C.UNSAID, "conv/kernel"),
    ("gradients/rbm/W:0_norm", ".", Q.GRADIENT_NORM, C.UNSAID, "rbm/W:0"),
    ("grads/logged_sequential/a/bias", ".", Q.GRADIENT_NORM, C.UNSAID, "logged_sequential/a/bias"),
    ("Gradient_norm", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("W:0_gradient_norm", ".", Q.GRADIENT_NORM, C.UNSAID, "W:0"),
    ("net/fc1/kernel_gradient_norm", ".", Q.GRADIENT_NORM, C.UNSAID, "net/fc1/kernel"),
    ("gradient/norm", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("grad_global_norm", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("global_norm", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("global_norm/gradient_norm", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("OptimizeLoss/global_gradient_norm", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("OptimizeLoss/global_norm/gradient_norm", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("OptimizeLoss/gradient_norm/fc/kernel", ".", Q.GRADIENT_NORM, C.UNSAID, "fc/kernel"),
    ("grad_2.0_norm_total", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("grad_2.0_norm_encoder.weight", ".", Q.GRADIENT_NORM, C.UNSAID, "encoder.weight"),
    ("grad_2.0_norm/encoder.weight", ".", Q.GRADIENT_NORM, C.UNSAID, "encoder.weight"),
    ("gradNorm", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("gnorm", ".", Q.GRADIENT_NORM, C.UNSAID, None),
    ("grad_norm/b/layer_norm/gamma", ".", Q.GRADIENT_NORM, C.UNSAID, "b/layer_norm/gamma"),
    ("grad_norm/block/layer_norm", ".", Q.GRADIENT_NORM, C.UNSAID, "block/layer_norm"),
    ("grads/block/layer_norm", ".", Q.GRADIENT_NORM, C.UNSAID, "block/layer_norm"),
    ("grads/batch_normalization/beta", ".", Q.GRADIENT_NORM, C.UNSAID, "batch_normalization/beta"),
    ("grad_norm/train/loss_head/kernel", ".", Q.GRADIENT_NORM, C.UNSAID, "train/loss_head/kernel"),
    ("grad_norm/ln/scale", ".", Q.GRADIENT_NORM, C.UNSAID, "ln/scale"),
    ("grad_norm/0", ".", Q.GRADIENT_NORM, C.UNSAID, "0"),
    # about gradients, but no norm of them
    ("clipped_gradient_norm", ".", Q.OTHER, C.UNSAID, None),
    ("clipped_grad_norm/fc/kernel", ".", Q.OTHER, C.UNSAID, None),
    ("max_grad_norm", ".", Q.OTHER, C.UNSAID, None),
    ("grads/dense/kernel/mean", ".", Q.OTHER, C.UNSAID, None),
    ("gradient_penalty", ".", Q.OTHER, C.UNSAID, None),
    ("grad_scale", ".", Q.OTHER, C.UNSAID, None),
    ("gradients", ".", Q.OTHER, C.UNSAID, None),
    ("gradient_noise_scale", ".", Q.OTHER, C.UNSAID, None),
    # learning rates
    ("lr", ".", Q.LEARNING_RATE, C.UNSAID, None),
    ("train/lr", ".", Q.LEARNING_RATE, C.UNSAID, None),
    ("learning_rate", ".", Q.LEARNING_RATE, C.UNSAID, None),
    ("LearningRate", ".", Q.LEARNING_RATE, C.UNSAID, None),
    ("lr-Adam", ".", Q.LEARNING_RATE, C.UNSAID, None),
    ("optimizer/lr", ".", Q.LEARNING_RATE, C.UNSAID, None),
    ("lr_decay", ".", Q.OTHER, C.UNSAID, None),
    ("dropout_rate", ".", Q.OTHER, C.UNSAID, None),
    # weights, updates, activations
    ("weight_norm/fc/kernel", ".", Q.WEIGHT_NORM, C.UNSAID, "fc/kernel"),
    ("weights/fc/kernel_norm", ".", Q.WEIGHT_NORM, C.UNSAID, "fc/kernel"),
    ("param_norm", ".", Q.WEIGHT_NORM, C.UNSAID, None),
    ("params/global_norm", ".", Q.WEIGHT_NORM, C.UNSAID, None),
    ("weights/layer_norm/gamma", ".", Q.OTHER, C.UNSAID, None),
    ("update_ratio/fc/kernel", ".", Q.UPDATE_RATIO, C.UNSAID, "fc/kernel"),
    ("update_to_weight_ratio", ".", Q.UPDATE_RATIO, C.UNSAID, None),
    ("update_norm", ".", Q.OTHER, C.UNSAID, None),
    ("activations/fc/mean", ".", Q.ACTIVATION_MEAN, C.UNSAID, "fc"),
    ("activation_std/fc", ".", Q.ACTIVATION_STD, C.UNSAID, "fc"),
    ("conv1/sparsity", ".", Q.ACTIVATION_ZERO_FRACTION, C.UNSAID, "conv1"),
    # metrics
    ("accuracy", ".", Q.METRIC, C.UNSAID, None),
    ("recall/class_3", ".", Q.METRIC, C.UNSAID, None),
    ("perplexity", ".", Q.METRIC, C.UNSAID, None),
    ("val_perplexity", ".", Q.METRIC, C.UNSAID, None),
    ("val_custom", ".", Q.METRIC, C.UNSAID, None),
    ("queue/size", ".", Q.OTHER, C.UNSAID, None),
    ("", ".", Q.OTHER, C.UNSAID, None),
    ("損失", ".", Q.OTHER, C.UNSAID, None),
]


@pytest.mark.parametrize(("tag", "writer", "quantity", "counting", "layer"), TABLE)
def test_table(
    tag: str, writer: str, quantity: Quantity, counting: Counting, layer: str | None
) -> None:
    found = meaning(tag, writer)
    assert (found.quantity, found.counting, found.layer) == (quantity, counting, layer)


@given(st.text(max_size=40), st.text(max_size=10))
def test_any_text_has_a_meaning(tag: str, writer: str) -> None:
    assert isinstance(meaning(tag, writer).quantity, Q)


@given(
    st.sampled_from(["grad_norm/{}", "gradients/{}_norm", "{}_gradient_norm", "grads/{}"]),
    st.lists(
        st.sampled_from(["dense", "conv2d_1", "lstm_cell", "embed", "Block3"]),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["kernel", "bias", "gamma", "W:0"]),
)
def test_layer_names_survive_every_style(style: str, layers: list[str], variable: str) -> None:
    name = "/".join([*layers, variable])
    found = meaning(style.format(name))
    assert (found.quantity, found.layer) == (Q.GRADIENT_NORM, name)


def test_residuals_stand_in_for_a_loss_only_in_training() -> None:
    assert is_residual("mse", "train")
    assert is_residual("epoch_mean_squared_error", "train")
    assert not is_residual("mse", "validation")
    assert not is_residual("accuracy", "train")
