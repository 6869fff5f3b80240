"""Areas under ROC curves and thresholds of labels, against scikit-learn and by hand."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from dovision.training.label_auroc import LabelAUROC


@st.composite
def told_labels(draw):
    """Probabilities, with ties, and a label with both values and some that are not known."""
    count = draw(st.integers(2, 40))
    levels = st.integers(0, 10).map(lambda level: level / 10)
    probability = draw(st.lists(levels, min_size=count, max_size=count))
    label = draw(st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=count, max_size=count))
    return np.float32(probability), np.float32([0.0, 1.0, *label[2:]])


def measured(probability, label):
    """The metric of probabilities and labels, shape (B, K), or (B,) of one label."""
    metric = LabelAUROC()
    metric.update(*(torch.as_tensor(values).reshape(len(values), -1) for values in (probability, label)))
    return metric


@settings(max_examples=60, deadline=None)
@given(told_labels())
def test_the_area_is_sklearns_over_the_known_labels(pair):
    probability, label = pair
    known = np.isfinite(label)
    expected = roc_auc_score(label[known], probability[known])
    assert measured(probability, label).by_label().item() == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(told_labels())
def test_a_threshold_has_the_largest_youden_index_of_sklearns_curve(pair):
    probability, label = pair
    known = np.isfinite(label)
    false_positive, true_positive, cuts = roc_curve(label[known], probability[known], drop_intermediate=False)
    youden = true_positive - false_positive
    chosen = measured(probability, label).thresholds().item()
    if youden.max() <= 1e-7:
        assert chosen == 0.5
    else:
        assert chosen in np.float32(cuts)
        assert youden[np.float32(cuts) == np.float32(chosen)].max() == pytest.approx(youden.max(), abs=1e-6)


def test_a_label_of_one_known_value_has_no_area_and_a_threshold_of_a_half():
    probability = torch.tensor([[0.1, 0.3, 0.9], [0.8, 0.6, 0.2]])
    label = torch.tensor([[0.0, 1.0, torch.nan], [1.0, 1.0, 0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measured(probability, label).by_label().tolist() == pytest.approx([1.0, np.nan, np.nan], nan_ok=True)
        assert measured(probability, label).thresholds()[1:].tolist() == [0.5, 0.5]
