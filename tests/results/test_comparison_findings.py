"""Sentences of results side by side, with numbers that are worked out by hand."""

from __future__ import annotations

import pandas as pd

from dovision.results.comparison_findings import comparison_findings


def rows(*values, panel="accuracy"):
    names = ("panel", "name", "mean", "low", "high", "n")
    return pd.DataFrame([(panel, f"fill {number}", *value) for number, value in enumerate(values)], columns=names)


def test_one_result_is_above_below_or_not_shown_to_differ():
    for value, words in (
        ((0.2, 0.1, 0.3, 40), "higher with fill 0 (+0.200 [+0.100, +0.300], n = 40 images)"),
        ((-0.2, -0.3, -0.1, 40), "lower with fill 0 (-0.200 [-0.300, -0.100], n = 40 images)"),
        ((0.2, -0.1, 0.5, 4), "not shown to differ with fill 0 (+0.200 [-0.100, +0.500], n = 4 images)"),
        ((0.2, None, None, 1), "not shown to differ with fill 0 (+0.200 [no interval], n = 1 image)"),
    ):
        (found,) = comparison_findings(rows(value), "black", "images")
        assert found.text == f"Compared with black, accuracy is {words}."
        assert (found.number.value, found.number.n) == (value[0], value[3])


def test_of_several_the_largest_difference_has_its_number_and_the_verdicts_name_all():
    (found,) = comparison_findings(rows((0.1, 0.05, 0.15, 9), (-0.2, -0.3, -0.1, 9), (0, -1, 1, 9)), "black", "maps")
    assert found.text == (
        "Compared with black, accuracy is higher with fill 0, lower with fill 1, not shown to differ with fill 2 "
        "(largest difference: fill 1, -0.200 [-0.300, -0.100], n = 9 maps; each interval by itself)."
    )
    assert found.logged()["finding/accuracy_minus_black"] == -0.2


def test_a_verdict_names_four_and_counts_the_others():
    (found,) = comparison_findings(rows(*[(0.1, 0.05, 0.15, 9)] * 6), "black", "images")
    assert "higher with fill 0; fill 1; fill 2; fill 3; 2 more (largest" in found.text


def test_numbers_that_are_all_equal_come_last_or_are_said_to_be_equal():
    equal = rows((0.0, 0.0, 0.0, 12))
    (found,) = comparison_findings(equal, "black", "images")
    assert found.text == "Compared with black, no number differs (accuracy; n = 12 images)."
    (found,) = comparison_findings(pd.concat([equal, rows((1.0, 0.5, 1.5, 12), panel="energy")]), "black", "images")
    assert "energy is higher" in found.text


def test_three_metrics_have_a_sentence_and_no_difference_has_none():
    many = pd.concat([rows((0.1, 0.05, 0.15, 9), panel=name) for name in "abcde"])
    assert [each.text[21] for each in comparison_findings(many, "black", "images")] == ["a", "b", "c"]
    assert comparison_findings(rows((None, None, None, 0)), "black", "images") == []
