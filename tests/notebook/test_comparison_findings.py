"""Sentences of results side by side, with numbers that are worked out by hand."""

import pandas as pd
import pytest
import torch

import dovision as dv
from dovision.notebook.compare import comparison_findings


def rows(*values, panel="accuracy"):
    names = ("panel", "name", "mean", "low", "high", "n")
    return pd.DataFrame([(panel, f"fill {number}", *value) for number, value in enumerate(values)], columns=names)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((0.2, 0.1, 0.3, 40), "Accuracy is higher with fill 0 than with black, by 0.20."),
        ((-0.2, -0.3, -0.1, 40), "Accuracy is lower with fill 0 than with black, by 0.20."),
        ((0.2, -0.1, 0.5, 4), "Accuracy is not shown to differ with fill 0 and with black."),
        ((0.2, None, None, 1), "Accuracy is not shown to differ with fill 0 and with black."),
        ((0.0, 0.0, 0.0, 12), "No number differs between fill 0 and black."),
    ],
)
def test_one_result_is_above_below_or_not_shown_to_differ(value, text):
    (found,) = comparison_findings(rows(value), "black", "images")
    assert (found.text, found.number.value) == (text, value[0])


def test_of_several_the_largest_difference_has_the_sentence_and_all_are_in_the_detail():
    (found,) = comparison_findings(rows((0.1, 0.05, 0.15, 9), (-0.2, -0.3, -0.1, 9), (0, -1, 1, 9)), "black", "maps")
    assert found.text == "Accuracy is lower with fill 1 than with black, by 0.20."
    assert found.logged()["finding/compared_accuracy_fill_1"] == -0.2
    assert found.detail[0] == ("fill 0", "+0.100 [+0.050, +0.150], n = 9 maps")


def test_three_metrics_have_a_sentence_and_no_difference_has_none():
    many = pd.concat([rows((0.1, 0.05, 0.15, 9), panel=name) for name in "abcde"])
    assert [each.text[0] for each in comparison_findings(many, "black", "images")] == ["A", "B", "C"]
    assert comparison_findings(rows((None, None, None, 0)), "black", "images") == []


def test_scores_that_exist_already_are_compared_by_their_paired_auroc():
    attacked, clean = torch.arange(20) / 20 + 0.5, torch.arange(20) / 20
    blind = torch.zeros(20)
    compared = dv.compare({"mine": (attacked, clean), "blind": [blind.numpy(), blind.numpy()]}, reference="blind")
    (row,) = compared.to_pandas().to_dict("records")
    assert (row["detector"], row["auroc"], row["successful"]) == ("mine", 0.375, 20)
    assert compared.findings == ["AUROC against clean images is higher with mine than with blind, by 0.38."]
    with pytest.raises(ValueError, match=r"scores of attacked and of clean images, .* got \(\(20,\), \(20,\)\) and"):
        dv.compare({"mine": (attacked, clean), "other": (attacked, clean[1:])})
    with pytest.raises(ValueError, match="got nan or infinity"):
        dv.compare({"mine": (attacked, clean), "other": (attacked, clean * torch.nan)})
