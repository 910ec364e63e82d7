"""Which batches and states stay on the disk.

There is always a state from at least ``keep`` steps before the present one, with every batch since,
so that these steps can be run again exactly. A state is written every ``every`` steps; of the older
ones that one is kept which still has to give the lead. At most two states and ``every + 2 * keep``
batches lie there.

When the loss or the state goes bad, the ring stops at the failure, for good: ``keep`` more batches
are added (for remedies to prove themselves on) and nothing is removed. Training may recover, e.g.
by a loss scale that skips the step; what is asked about later is the first failure.
"""

from __future__ import annotations

from pathlib import Path

from forensics.recorder.files import TEMPORARY

MANIFEST, MODEL, BEFORE = "manifest.json", "model.keras", "before"


class Ring:
    """Files of one recording.

    Parameters
    ----------
    folder : Path
        Where they lie.
    keep : int
        Steps that can always be run again.
    every : int
        Steps between two states.
    """

    def __init__(self, folder: Path, keep: int, every: int) -> None:
        self.folder, self.keep, self.every = folder, keep, every
        self.frozen: int | None = None
        """Step that went bad, where the ring stands still."""
        self._states: list[int] = []
        self._batches: list[int] = []
        self._due: int | None = None

    def open(self) -> None:
        """Make room: what an earlier process recorded moves to a folder of its own."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob("*" + TEMPORARY):
            left.unlink(missing_ok=True)
        earlier = [*self.folder.glob("batch-*.npz"), *self.folder.glob("state-*.npz")]
        if not earlier:
            return
        before = self.folder / BEFORE
        before.mkdir(exist_ok=True)
        for old in before.iterdir():
            old.unlink(missing_ok=True)
        for file in [*earlier, self.folder / MANIFEST]:
            if file.exists():
                file.replace(before / file.name)

    def batch_path(self, step: int) -> Path:
        """Where the batch of a step is written."""
        return self.folder / f"batch-{step:09d}.npz"

    def state_path(self, step: int) -> Path:
        """Where the state before a step is written."""
        return self.folder / f"state-{step:09d}.npz"

    def wants_state(self, step: int) -> bool:
        """Whether the state before `step` is due."""
        return self.frozen is None and (self._due is None or step >= self._due)

    def wants_batch(self, step: int) -> bool:
        """Whether the batch of `step` still belongs to what is recorded."""
        return self.frozen is None or step <= self.frozen + self.keep

    def freeze(self, step: int) -> bool:
        """Stand still at a bad step; whether it had not already."""
        if self.frozen is not None:
            return False
        self.frozen = step
        return True

    def added_state(self, step: int) -> None:
        """Remove what is no longer needed now that the state before `step` is there."""
        self._states.append(step)
        self._due = step + self.every
        self._remove_old(step)

    def added_batch(self, step: int) -> None:
        """Remove what is no longer needed now that the batch of `step` is there."""
        self._batches.append(step)
        if self.frozen is None:
            self._remove_old(step)

    def _remove_old(self, step: int) -> None:
        far_enough = [s for s in self._states if s <= step - self.keep]
        base = max(far_enough) if far_enough else min(self._states, default=0)
        while self._states and self._states[0] < base:
            self.state_path(self._states.pop(0)).unlink(missing_ok=True)
        while self._batches and self._batches[0] < base:
            self.batch_path(self._batches.pop(0)).unlink(missing_ok=True)
