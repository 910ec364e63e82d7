"""TensorFlow's first format of checkpoints, one table that holds everything: named, not read.

``tf.train.Saver`` wrote it until 2016 and does so still when asked for ``write_version=V1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from forensics.domain.run import CheckpointFormat
from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_table import FOOTER_BYTES, is_table_file
from forensics.sources.checkpoints.checkpoint_format import Claim, OpenCheckpoint
from forensics.sources.storage.blob import NotRegular
from forensics.sources.storage.place import Place

_NAME = re.compile(r"(^|/)[^/]*(ckpt|-\d+$|-\d{5}-of-\d{5}$)[^/]*$")
_OTHERS = (".meta", ".index", ".json", ".txt", ".md", ".h5", ".keras")


class SaverV1:
    """A file named like the prefix of a bundle, in LevelDB's format of tables."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim what has such a name and ends like a table."""
        named = [n for n in names if _NAME.search(n) and not n.endswith(_OTHERS)]
        place.expect(named, FOOTER_BYTES)
        for name in named:
            if _is_table(name, place):
                yield Claim(name, CheckpointFormat.TENSOR_BUNDLE, (name,))

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Say that it is not read."""
        name = checkpoint.claim.name
        checkpoint.blob(name, checkpoint.claim.format.value)
        detail = (
            "a checkpoint in TensorFlow's first format (Saver V1) is not read; "
            "tf.compat.v1.train.Saver restores it and saves it anew in the second one"
        )
        raise Damaged(name, 0, "unsupported", detail)


def _is_table(name: str, place: Place) -> bool:
    """Whether it is one; archives and pickles under such a name are not read for it."""
    try:
        with place.open(name) as blob:
            other = blob.head(1) in (b"P", b"\x80")
    except (OSError, NotRegular):
        return False
    return not other and is_table_file(name, place)
