"""The page's tables name every run, and give the sorting what it needs."""

from dovision.report.html_tables import (
    Cell,
    difference_table,
    differing,
    headline_table,
    job_table,
    quality_table,
    shared,
)
from dovision.store.run_record import survey


def test_every_job_has_a_row_with_its_state_what_differs_and_the_reason(sweep):
    runs = survey(sweep)
    heads, rows = job_table(runs)
    assert heads[:5] == ("job", "state", "reason", "intervention", "intervention.rows")
    assert heads[-1] == "seconds"
    assert [row[1].text for row in rows] == ["completed", "completed", "interrupted", "failed", "completed"]
    assert [row[4].text for row in rows] == ["2", "4", "4", "4", "-"]
    assert rows[0][-1] == Cell("12.5", "12.5", "number")
    assert rows[3][2].text == "ValueError: a grid must have at most 32 rows, got 64."


def test_settings_of_the_command_line_come_first_and_common_ones_are_not_among_them(sweep):
    runs = survey(sweep)
    assert differing(runs) == [
        "intervention",
        "intervention.rows",
        "intervention.columns",
        "intervention.fill",
        "intervention.fill.value",
        "intervention.value",
    ]
    assert shared(runs)["dataset"] == "MNIST"
    assert not set(shared(runs)) & set(differing(runs))
    assert difference_table(runs).rows[0][1].text == "Activation (1 job), PixelGrid (4 jobs)"


def test_headline_numbers_are_sorted_by_the_estimate_not_by_its_text(sweep):
    runs = [run for run in survey(sweep) if run.state == "completed"]
    heads, rows = headline_table(runs)
    assert len(rows) == 9
    assert heads[:3] == ("job", "condition", "images")
    accuracy = runs[0].summary["conditions"]["clean"]["accuracy"]["estimate"]
    assert rows[0][3].order == f"{accuracy:.6g}"
    assert rows[0][3].text.startswith(f"{accuracy:.3f} [")
    success = heads.index("attack success")
    assert (rows[0][success].text, rows[0][success].order) == ("-", "")
    assert rows[0][2] == Cell("40 (10 classes, 3 to 6 images each)", "40")
    heads, rows = quality_table(runs)
    assert len(rows) == 9
    assert rows[0][2] == Cell("40 (10 classes, 3 to 6 images each)", "40")
    found = runs[0].summary["conditions"]["clean"]["classifier_auroc"]["estimate"]
    assert rows[0][heads.index("AUROC")].order == f"{found:.6g}"
