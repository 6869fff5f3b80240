"""Reported numbers beside the means of rows that are counted here by other means."""

from __future__ import annotations

import pytest

from dovision.results.reported import ONE_IMAGE, ReportedNumber, ReportedNumbers, comparison, comparison_lines
from dovision.results.tables import read_effects, read_samples

pytestmark = pytest.mark.usefixtures("few_images")


@pytest.fixture(scope="module")
def folder(write_run, tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run", grid=None, images=6, maps=0).path


@pytest.fixture(scope="module")
def effects(folder):
    return read_effects(folder, range(6))


def measured(folder, column, **where):
    return ReportedNumber(0.5, "some number", column, where).measure(folder)


def test_a_column_of_samples_is_averaged_over_the_clean_condition_unless_another_is_named(folder):
    samples = read_samples(folder)
    for where, condition in (({}, "clean"), ({"condition": "eps=0.2"}, "eps=0.2")):
        found = measured(folder, "margin", **where)
        assert found.value == pytest.approx(samples.loc[samples["condition"] == condition, "margin"].mean(), abs=1e-6)
        assert (found.n, found.method) == (3, "t")  # patients
        assert found.low < found.value < found.high


def test_a_column_of_effects_is_averaged_over_the_rows_that_are_named(folder, effects):
    clean = effects[(effects["condition"] == "clean") & (effects["unit"] == "channel 5")]
    assert len(clean) == 6 * 10
    assert measured(folder, "divergence", unit="channel 5").value == pytest.approx(clean["divergence"].mean())
    one = clean[(clean["sample"] == 2) & (clean["class"] == "7")]
    found = measured(folder, "effect", unit="channel 5", name="digit_0002.png", **{"class": "7"})
    assert found.value == pytest.approx(one["effect"].item())
    assert (found.n, found.low == found.low) == (1, False)
    assert found.reason == ONE_IMAGE
    assert measured(folder, "correct").method == "Clopper-Pearson"


def test_the_table_shows_both_numbers_and_says_where_nothing_was_measured(folder):
    numbers = {
        "margin": ReportedNumber(0.75, "margin of the test digits", "margin"),
        "lost": ReportedNumber(0.1, "effect on a digit that is not there", "effect", {"name": "digit_99.png"}),
    }
    compared = ReportedNumbers("a notebook", numbers).compare(folder)
    here = compared["numbers"]["margin"]["here"]
    table = comparison(compared)
    assert table["reported"].tolist() == ["0.75", "0.1"]
    assert table["here"].tolist() == [
        f"{here['estimate']:.4g} [{here['low']:.4g}, {here['high']:.4g}]",
        "- (no such row was measured)",
    ]
    assert compared["numbers"]["lost"]["here"]["estimate"] is None
    shown = comparison_lines(compared)
    assert shown[0] == "beside a notebook:"
    assert shown[1].split() == ["number", "reported", "here"]
    assert [line.index(number) for line, number in zip(shown[2:], ("0.75", "0.1"), strict=True)] == [
        shown[1].index("reported")
    ] * 2


@pytest.mark.parametrize(
    ("column", "where", "message"),
    [
        ("divergense", {}, "column must be one of .*Did you mean divergence"),
        (
            "effect",
            {"units": "c5"},
            "where must be one of name, condition, unit, class, got 'units'. Did you mean unit",
        ),
        ("correct", {"unit": "c5"}, "where must be one of name, condition, got 'unit'"),
    ],
)
def test_a_column_that_is_not_there_is_refused_before_anything_runs(column, where, message):
    with pytest.raises(ValueError, match=message):
        ReportedNumber(0.5, "some number", column, where)
