"""Other forms of a remedy, which a trial may have shown to help."""

from __future__ import annotations

from collections.abc import Iterable

LOWER = tuple(f"learning_rate_div_{divisor}" for divisor in (100, 1000, 10000))
VARIANTS: dict[str, tuple[str, ...]] = {
    "learning_rate_div_10": (*LOWER, "learning_rate_schedule"),
    "clip_global_norm": ("clip_value",),
    "normalise_layers": ("bounded_recurrence",),
    "float32_output": ("float32",),
    "normalise_inputs": ("normalise_targets",),
    "drop_outliers": ("drop_culprit_rows",),
    "drop_bad_rows": ("drop_culprit_rows",),
    "check_labels": ("drop_culprit_rows",),
    "double_where": ("finite_mask",),
    "safe_log": ("double_where",),
}
"""Named where a trial of theirs succeeded: they are nothing to propose untried."""
EVERYWHERE = ("drop_culprit_rows", "jit_off", "reset_slots")
"""Named, where they succeeded, whatever the cause: they say more about it than they cure."""


def belonging(slugs: Iterable[str]) -> tuple[str, ...]:
    """Return the remedies of a cause with their other forms."""
    return tuple(dict.fromkeys(form for s in slugs for form in (s, *VARIANTS.get(s, ()))))
