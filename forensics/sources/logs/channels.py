"""Outputs of several processes that were merged line by line, told apart by what marks each line.

Known marks: Open MPI's ``[1,0]<stdout>:`` (``--tag-output``) [1]_, Slurm's ``0: `` (``srun -l``)
[2]_ and Ray's ``(worker pid=7)``. A time in front, as container runtimes and loggers put it there,
marks nothing and is taken off.

References
----------
.. [1] ``mpirun(1)``. [2] ``srun(1)``, ``--label``.
"""

from __future__ import annotations

import re

_MARK = re.compile(
    r"\[\d{1,6},(?P<mpi>\d{1,6})\]<\w{1,16}>: ?|\s{0,8}(?P<slurm>\d{1,6}): "
    r"|\((?P<ray>[\w.:\-]{1,80} pid=\d{1,12})[^)]{0,80}\) "
)
_TIME = re.compile(
    r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.,]{0,12}(?:Z|[+-]\d\d:?\d\d)?\]?[ \t]{1,4}"
)
_STDOUT = re.compile(r"(?:stdout|stderr) [FP] ")


def channel_of(line: str) -> tuple[str, str]:
    """Return the mark of a line, empty where it has none, and the rest of it.

    Examples
    --------
    >>> channel_of("[1,3]<stdout>:Epoch 1/10")
    ('3', 'Epoch 1/10')
    """
    first = line[:1]
    if first not in "[( 0123456789" or not first:
        return "", line
    timed = _TIME.match(line)
    if timed is not None:
        line = line[timed.end() :]
        driven = _STDOUT.match(line)
        if driven is not None:
            line = line[driven.end() :]
    mark = _MARK.match(line)
    if mark is None:
        return "", line
    return mark["mpi"] or mark["slurm"] or mark["ray"], line[mark.end() :]
