"""Records what PyTorch's SummaryWriter and Lightning's TensorBoardLogger write.

Recorded with PyTorch 2.13.0 (CPU), Lightning 2.6.6, TensorBoard 2.21.0:

    python record_pytorch.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch  # type: ignore[import-not-found]
from lightning.pytorch.loggers import TensorBoardLogger  # type: ignore[import-not-found]
from torch.utils.tensorboard import SummaryWriter  # type: ignore[import-not-found]


def pytorch(folder: Path) -> None:
    with SummaryWriter(str(folder)) as writer:
        for step in range(6):
            writer.add_scalar("Loss/train", 1.0 / (step + 1), step, walltime=1000.0 + step)
            writer.add_scalar("new_style", step / 3, step, walltime=1000.5 + step, new_style=True)
            writer.add_scalars("both", {"a": step, "b": -step}, step, walltime=1000.0 + step)
            weights = np.linspace(-step, step, 20)
            if step < 2:  # Its buckets take seven kilobytes each.
                writer.add_histogram("weights", weights, step, walltime=1000.0 + step)
            writer.add_histogram("few", weights, step, bins="auto", walltime=1000.0 + step)
        raw = {"min": -1, "max": 2, "num": 3, "sum": 4, "sum_squares": 5}
        writer.add_histogram_raw("raw", bucket_limits=[0, 1, 2], bucket_counts=[1, 0, 2], **raw)
        writer.add_text("note", "**grüße**", 3)
        writer.add_image("image", np.zeros((3, 4, 6)), 1)
        writer.add_images("images", np.zeros((2, 3, 4, 6)), 1)
        writer.add_audio("sound", np.zeros((1, 80)), 2, sample_rate=8000)
        writer.add_tensor("tensor", torch.arange(6).reshape(2, 3), 5)
        writer.add_pr_curve("pr", np.array([0, 1, 1]), np.array([0.1, 0.5, 0.9]), 0, 5)
        writer.add_custom_scalars({"group": {"chart": ["Multiline", ["Loss/train"]]}})
        hparams = {"lr": 0.01, "batch_size": 32, "optimizer": "Adam", "nesterov": True}
        writer.add_hparams(hparams, {"hparam/accuracy": 0.5}, run_name="trial")


def lightning(folder: Path) -> None:
    logger = TensorBoardLogger(str(folder.parent), name=folder.name, version="")
    logger.log_hyperparams({"learning_rate": 0.003, "net": {"units": 8}, "dropout": None})
    for step in range(10):
        logger.log_metrics({"train_loss": 2.0 / (step + 1), "epoch": step // 5}, step)
    for epoch in range(2):
        logger.log_metrics({"val_loss": 1.0 / (epoch + 1), "epoch": epoch}, 5 * epoch + 4)
    logger.finalize("success")


if __name__ == "__main__":
    pytorch(Path(sys.argv[1]) / "pytorch")
    lightning(Path(sys.argv[1]) / "lightning")
