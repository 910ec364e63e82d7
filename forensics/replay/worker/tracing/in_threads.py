"""Let a callback on ops hear of those of other threads: TensorFlow keeps callbacks per thread."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Iterator


@contextlib.contextmanager
def heard_in_threads(callback: Any) -> Iterator[None]:
    """Put the callback on the ops of every thread that is started within the block."""
    from tensorflow.python.framework import op_callbacks

    start = threading.Thread.start

    def started(self: threading.Thread) -> None:
        run = self.run

        def heard() -> None:
            op_callbacks.add_op_callback(callback)
            try:
                run()
            finally:
                op_callbacks.remove_op_callback(callback)

        self.run = heard  # type: ignore[method-assign]
        start(self)

    threading.Thread.start = started  # type: ignore[method-assign]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
