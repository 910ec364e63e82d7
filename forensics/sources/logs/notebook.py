"""What the cells of a Jupyter notebook printed (nbformat 4 [1]_, and 3).

The cells are read in the order in which they stand. A notebook keeps what it showed last.

References
----------
.. [1] nbformat, ``v4/nbformat.v4.schema.json``: ``stream`` outputs, text as string or list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from forensics.domain.run import InputState, ReadWarning
from forensics.sources.logs.curve import LogFile, LogWriter
from forensics.sources.logs.html_table import curves_of_page
from forensics.sources.logs.json_file import LARGEST, byte_offset
from forensics.sources.logs.text_lines import lines_of
from forensics.sources.logs.text_log import MOST_TRAININGS, TextLog
from forensics.sources.storage.blob import Blob

KIND = "notebook"


def read_notebook(blob: Blob) -> LogFile:
    """Read the curves that a notebook's outputs tell of."""
    if blob.size > LARGEST:
        return _refused(blob, InputState.LIMIT, "limit", f"has more than {LARGEST} bytes")
    text = bytes(blob.read(0, blob.size)).decode("utf-8-sig", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        offset = byte_offset(text, error, blob.size)
        return _refused(blob, InputState.DAMAGED, "bad_json", "is no JSON", offset)
    log = TextLog(blob.name, str(PurePosixPath(blob.name).parent))
    shown: list[LogWriter] = []
    for text, is_page in _texts(document):
        if not is_page:
            log.take(lines_of(text))
        elif curves := curves_of_page(text):
            shown.append(LogWriter(blob.name, str(PurePosixPath(blob.name).parent), curves))
    writers, warnings, config = log.finish()
    for writer in shown[:MOST_TRAININGS]:
        # The table of a trainer is what was printed of its training, if nothing else was.
        number = len(writers) + 1
        writer.name = blob.name if number == 1 else f"{blob.name}#{number}"
        writers.append(writer)
    if not writers and not warnings:
        return LogFile()
    return LogFile(writers, blob.record(KIND, InputState.COMPLETE), warnings, config)


def _refused(
    blob: Blob, state: InputState, kind: str, why: str, offset: int | None = None
) -> LogFile:
    warning = ReadWarning(blob.name, offset, kind, f"this notebook {why} and was not read")
    return LogFile([], blob.record(KIND, state), [warning])


def _texts(document: Any) -> Iterator[tuple[str, bool]]:
    """Texts that cells wrote to standard output or error, and pages (True) that they displayed."""
    for cell in _cells(document):
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else []:
            if not isinstance(output, dict):
                continue
            data = output.get("data")
            page = data.get("text/html") if isinstance(data, dict) else None
            if page is not None and output.get("output_type") == "display_data":
                yield _joined(page), True
            elif output.get("output_type") == "stream":
                yield _joined(output.get("text")), False


def _joined(text: Any) -> str:
    if isinstance(text, list):
        return "".join(part for part in text if isinstance(part, str))
    return text if isinstance(text, str) else ""


def _cells(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        return
    sheets = document.get("worksheets")
    for holder in [document, *(sheets if isinstance(sheets, list) else [])]:
        cells = holder.get("cells") if isinstance(holder, dict) else None
        yield from (c for c in (cells if isinstance(cells, list) else []) if isinstance(c, dict))
