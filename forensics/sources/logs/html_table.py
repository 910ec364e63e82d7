"""The table that the Hugging Face trainer displays in a notebook, row by row as it trains.

Format: transformers 3 to 5, ``utils/notebook.py`` (``text_to_html_table``): six digits after the
point; the first column is ``Step`` (batches done) or ``Epoch`` (done, from 1).
"""

from __future__ import annotations

import re

from forensics.domain.quantity import Fidelity, Quantity
from forensics.sources.logs.curve import Curve
from forensics.sources.logs.numbers import number, step_of
from forensics.sources.logs.tabular import Table
from forensics.sources.tags import Counting, meaning

_ROW = re.compile(r"<tr\b")
_CELL = re.compile(r"<t[hd]>([^<]{0,200})</t[hd]>")
_MOST_ROWS = 100_000


def curves_of_page(page: str) -> list[Curve]:
    """Return the curves in a displayed page; of what is no such table, none.

    Parameters
    ----------
    page : str
        HTML; nothing of it is shown or followed.
    """
    rows = [_CELL.findall(row) for row in _ROW.split(page)[1 : _MOST_ROWS + 2]]
    header = next((row for row in rows if row), [])
    if header[:1] not in (["Step"], ["Epoch"]) or not any(map(_is_loss, header)):
        return []
    by_step = header[0] == "Step"
    table = Table(Fidelity.PRINTED, Counting.ITERATIONS, epochs_from=1)
    for row in rows:
        if len(row) != len(header) or row is header:
            continue
        at = step_of(number(row[0]))
        if at is None:
            continue
        values = [
            (n, v) for n, c in zip(header[1:], row[1:], strict=True) if (v := number(c)) is not None
        ]
        table.add(values, at if by_step else None, None if by_step else at)
    return table.curves()


def _is_loss(name: str) -> bool:
    return meaning(name).quantity in (Quantity.TRAIN_LOSS, Quantity.VALIDATION_LOSS)
