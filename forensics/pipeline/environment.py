"""Where the run, the analysis and the replay took place."""

from __future__ import annotations

import platform
from typing import Any

from forensics.domain.replay import ReplayResult
from forensics.domain.report import encode
from forensics.domain.run import Run

RECORDED = (
    "python",
    "tensorflow",
    "keras",
    "tensorflow_version",
    "keras_version",
    "backend",
    "date_saved",
)
"""Keys that runs leave in their configuration (e.g. the metadata of a ``.keras`` archive)."""


def environment(run: Run, config: dict[str, Any], replay: ReplayResult | None) -> dict[str, Any]:
    """Return the section ``environment``; what nothing tells is null.

    Parameters
    ----------
    run : Run
        Its configuration may hold an ``environment``.
    config : dict
        Merged configuration of run, checkpoints and replay; versions found in it were recorded.
    replay : ReplayResult or None
        Where it ran.
    """
    given = run.config.get("environment")
    recorded = dict(given) if isinstance(given, dict) else {}
    recorded |= {key: config[key] for key in RECORDED if config.get(key) is not None}
    return {
        "recorded": encode(recorded) or None,
        "analysed": {
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
        },
        "replayed": encode(replay.environment) or None if replay is not None else None,
    }
