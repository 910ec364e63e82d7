"""What is known of a run's configuration, whoever wrote it down: one spelling for detectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forensics.domain.scene import Scene


@dataclass(frozen=True, slots=True)
class Settings:
    """Names in lower snake case without the module, None when unknown."""

    loss: str | None
    from_logits: bool | None
    last_activation: str | None
    output_units: int | None
    dtype_policy: str | None
    optimizer: str | None
    learning_rate: float | None

    @classmethod
    def of(cls, scene: Scene) -> Settings:
        """Merge what logs and checkpoints hold with what the replayed objects told (which wins)."""
        found: dict[str, Any] = {}
        for checkpoint in scene.run.checkpoint_stats:
            found.update(_known(checkpoint.config))
        found.update(_known(scene.run.config))
        if scene.replay is not None:
            found.update(_known(scene.replay.config))
        logits = found.get("from_logits", found.get("loss_from_logits"))
        units = found.get("output_units")
        rate = found.get("learning_rate")
        return cls(
            loss=_name(found.get("loss")),
            from_logits=logits if isinstance(logits, bool) else None,
            last_activation=_name(found.get("last_activation", _last(found.get("activations")))),
            output_units=units if isinstance(units, int) else None,
            dtype_policy=_name(found.get("dtype_policy")),
            optimizer=_name(found.get("optimizer")),
            learning_rate=float(rate) if isinstance(rate, int | float) else None,
        )

    @property
    def half_precision(self) -> bool:
        """Whether the policy computes in a 16-bit float."""
        return self.dtype_policy is not None and "float16" in self.dtype_policy


def _known(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if value is not None}


def _name(value: Any) -> str | None:
    """``{"class_name": "CategoricalCrossentropy"}`` and ``keras.losses.X`` in snake case."""
    if isinstance(value, Mapping):
        inner = value.get("config")
        own = value.get("class_name") or value.get("registered_name") or value.get("name")
        if own in ("DTypePolicy", "function", None) and inner is not None:
            own = inner.get("name") if isinstance(inner, Mapping) else inner
        value = own
    if not isinstance(value, str) or not value:
        return None
    short = value.split(">")[-1].split(".")[-1]
    if "_" in short:
        return short.lower()
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", short).lower()


def _last(activations: Any) -> Any:
    """Return the last of a list of ``{"layer", "activation"}``.

    None for a linear one: a layer without an activation of its own may follow it, a Lambda that
    computes a softmax for instance.
    """
    if not isinstance(activations, list | tuple) or not activations:
        return None
    last = activations[-1]
    name = last.get("activation") if isinstance(last, Mapping) else last
    return None if name == "linear" else name
