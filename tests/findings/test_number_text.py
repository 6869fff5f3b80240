import pytest

from dovision.findings.number_text import interval_text, metric_text
from dovision.functional.intervals import SATURATED
from dovision.store.display_names import MEAN_EFFECT


def interval(estimate, low=None, high=None, reason="few"):
    return {"estimate": estimate, "low": low, "high": high, "reason": reason}


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "-"),
        (interval(float("nan")), "-"),
        (interval(0.25, 0.125, 0.5, ""), "0.250 [0.125, 0.500]"),
        (interval(0.25), "0.250 [-]"),
        (interval(0.25, reason=""), "0.250"),
        (interval(0.0, reason=SATURATED), "saturated"),
    ],
)
def test_a_number_has_its_interval_or_a_sign_that_it_has_none(found, text):
    assert interval_text(found) == text


def test_small_effects_are_written_with_their_power_of_ten():
    assert metric_text(MEAN_EFFECT, interval(0.0123, 0.01, 0.02, "")) == "0.0123 [0.0100, 0.0200]"
    assert metric_text(MEAN_EFFECT, interval(0.000123, 0.0001, 0.0002, "")) == "1.2e-04 [1.0e-04, 2.0e-04]"
    assert metric_text("accuracy", interval(0.5, 0.25, 0.75, "")) == "0.500 [0.250, 0.750]"
    assert metric_text("accuracy", None) == "-"
