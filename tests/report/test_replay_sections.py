"""What the replay found beyond the op: rows, blame, scan, instruments, reproducer."""

from __future__ import annotations

from typing import Any

import pytest

from forensics.domain.report import Report
from forensics.report.contract import read_document
from forensics.report.html import render_html
from forensics.report.markdown import render_markdown
from forensics.report.terminal import render_terminal
from forensics.report.verdict import rows_text, scan_text
from forensics.report.words import BLAME, INSTRUMENT, SOURCE
from tests.report.documents import nan_report


def replay(**changes: Any) -> dict[str, Any]:
    document = read_document(nan_report())
    return {**document["replay"], **changes}


def test_every_part_is_on_the_page() -> None:
    page = render_html(nan_report())
    assert "2 independent culprits" in page
    assert "BatchNorm in layer bn couples the rows" in page
    assert "The program&#39;s." in page and "NumPy float64" in page
    assert "180 batches from ckpt/ckpt-100, without updates" in page.replace("<code>", "").replace(
        "</code>", ""
    )
    assert "2 of 5 passes fail" in page
    assert SOURCE["entry_point"] in page and INSTRUMENT["own_trace"].split(",")[0] in page
    assert "the layers after pool_2 were not traced" in page.lower()
    assert "print(tf.math.log(0.0))  # &lt;b&gt;" in page


def test_the_short_formats_name_rows_and_blame() -> None:
    terminal, markdown = render_terminal(nan_report(), width=200), render_markdown(nan_report())
    for text in (terminal, markdown):
        assert "Rows 3–5, 17 of the batch of step 108" in text.replace("`", "")
        assert BLAME["user"] in text.replace("`", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": [5], "culprits": [[5]], "minimal_batch": [5]}, "It alone makes the step fail"),
        ({"samples": [2, 7], "culprits": [[2, 7]], "minimal_batch": [2, 7]}, "They make the step"),
        ({"samples": [], "culprits": [], "minimal_batch": [], "collective": True}, "collective"),
        ({"samples": [2, 7], "culprits": [[2], [7]], "minimal_batch": [2]}, "2 independent"),
        ({"samples": [1, 2, 3], "culprits": [], "minimal_batch": [1]}, "A batch of 1 row of it"),
    ],
)
def test_rows_are_told_apart(changes: dict[str, Any], said: str) -> None:
    assert said in rows_text({**replay(), **changes})


def test_a_scan_says_when_it_is_not_complete() -> None:
    scan = replay()["scan"]
    assert "the time ended before the data" in scan_text(scan)
    calm = {**scan, "complete": True, "ranked": [], "reruns": 0}
    assert scan_text(calm).endswith("Every one of them is finite.")


def test_a_report_of_the_first_version_still_renders() -> None:
    document = nan_report().document
    old = dict(document["replay"])
    for key in (
        "culprits", "row_notes", "whose_bug", "scan", "source", "instrument", "degradations",
        "reproducer_script",
    ):  # fmt: skip
        del old[key]
    page = render_html(Report({**document, "replay": old}))
    assert "Whose bug" not in page and "Which rows of the batch" in page


def test_a_dump_is_not_called_a_replay() -> None:
    document = nan_report().document
    report = Report({**document, "replay": {**document["replay"], "source": "debug_dump"}})
    for text in (render_terminal(report, width=200), render_markdown(report)):
        assert "debug dump of step 108" in text
    assert "nothing was run again" in render_html(report)
