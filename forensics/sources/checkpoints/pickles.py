"""Checkpoints that are pickles: programs that run when they are loaded. They stay closed.

Names are those that PyTorch, Lightning, Accelerate and Hugging Face's trainers write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from forensics.domain.run import ReadWarning

NOT_READ = "not_read"
"""Kind of the record: nothing is wrong with the file, it was not looked into."""
_PICKLE = re.compile(
    r"\.(pt|pth)$|(^|/)((pytorch_model|adapter_model)[^/]*|optimizer|scheduler|training_args)\.bin$"
    r"|(^|/)random_states_\d+\.pkl$|(^|/)(epoch=\d+[^/]*|last)\.ckpt$"
)


def pickles_among(names: Iterable[str]) -> list[ReadWarning]:
    """Name those files that are pickles, going by their names."""
    why = "not read: a pickle, which is a program that runs when it is loaded"
    return [ReadWarning(name, None, NOT_READ, why) for name in names if _PICKLE.search(name)]
