import pytest

from dovision.functional.intervals import SATURATED, Number
from dovision.results.display_names import MEAN_EFFECT
from dovision.results.finding import interval_text, level_text, metric_text, number_text


def interval(estimate, low=None, high=None, reason="few"):
    return {"estimate": estimate, "low": low, "high": high, "reason": reason}


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({}, "-"),
        (interval(float("nan")), "-"),
        (interval(0.25, 0.125, 0.5, ""), "0.250 [0.125, 0.500]"),
        (interval(0.25), "0.250 [-]"),
        (interval(0.0, reason=SATURATED), "saturated"),
        (interval(-0.0001, -0.02, 0.02, ""), "0.000 [-0.020, 0.020]"),
        (interval(0.00031, 0.0002, 0.00042, ""), "0.00031 [0.00020, 0.00042]"),
        (interval(0.2, 0.0001, 0.5, ""), "0.200 [0.00010, 0.500]"),
        (interval(0.073, 3.2e-91, 1.0, ""), "0.073 [0.000, 1.000]"),
        (interval(0.0004, 0.0001, 0.0012, ""), "0.00040 [0.00010, 0.00120]"),
        (interval(4.4e-6, 0.0, 9e-6, ""), "4.4e-6 [0.0, 9.0e-6]"),
        (interval(-2.5e-7, -3e-7, 1e-7, ""), "-2.5e-7 [-3.0e-7, 1.0e-7]"),
    ],
)
def test_a_number_has_its_interval_or_a_sign_that_it_has_none(found, text):
    assert interval_text(Number.of(found, "estimate")) == text


def test_small_effects_have_the_places_that_they_need():
    assert metric_text(MEAN_EFFECT, interval(0.0123, 0.01, 0.02, "")) == "0.0123 [0.0100, 0.0200]"
    assert metric_text(MEAN_EFFECT, interval(0.0000123, 0.00001, 0.00002, "")) == "0.000012 [0.000010, 0.000020]"
    assert metric_text(MEAN_EFFECT, interval(2.5e-7, 1e-7, 4e-7, "")) == "2.5e-7 [1.0e-7, 4.0e-7]"
    assert metric_text("accuracy", interval(0.5, 0.25, 0.75, "")) == "0.500 [0.250, 0.750]"
    assert metric_text("accuracy", None) == "-"


LEVELS = {0.95: "95%", 0.975: "97.5%", 0.99875: "99.88%", 0.9999888: "99.9989%", 1 - 0.05 / 128: "99.961%", 0.9: "90%"}


def test_levels_have_two_digits_of_what_they_leave():
    assert {level: level_text(level) for level in LEVELS} == LEVELS


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.0"), (-0.0, "0.0"), (1.0, "1.0"), (-1.6e-2, "-1.6e-2"), (2.5e11, "2.5e11")]
)
def test_an_exponent_has_no_zeros_and_zero_has_none(value, text):
    assert number_text(value, "+.1e").lstrip("+") == text
