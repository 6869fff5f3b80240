"""Digits against scikit-learn's data and Pillow's resize."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from dovision.datasets.digits import Digits

NAMES = [str(digit) for digit in range(10)]


def digits(shape=(1, 32, 32), classes=NAMES, seed=0, val=0.15, test=0.25, task="multiclass") -> Digits:
    return Digits(task, classes, shape, val_fraction=val, test_fraction=test, seed=seed)


def rows(dataset: Digits, name: str) -> list[int]:
    return [int(text.removeprefix("digits-")) for text in dataset.table(name)["name"]]


def test_at_their_own_size_the_digits_are_scikit_learns():
    data, dataset = load_digits(), digits(shape=(1, 8, 8))
    for name in ("train", "val", "test"):
        items = list(dataset.split(name))
        own = rows(dataset, name)
        expected = torch.from_numpy(data.images[own] / 16).float().unsqueeze(1)
        assert torch.equal(torch.stack([item.image for item in items]), expected)
        assert [int(item.label) for item in items] == data.target[own].tolist()
        assert [int(item.group) for item in items] == own


def test_enlarged_digits_are_those_of_pillows_bilinear_resize():
    dataset = digits()
    row = rows(dataset, "test")[0]
    small = Image.fromarray((load_digits().images[row] / 16).astype(np.float32))
    expected = np.asarray(small.resize((32, 32), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(dataset.split("test")[0].image[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"classes": NAMES[:3]}, r"classes must be what the data say.*got \['0', '1', '2'\]. Use"),
        ({"shape": (1, 4, 32)}, r"shape must be what the data say, \[1, 8, 32\], got \[1, 4, 32\]"),
        ({"classes": None}, "classes must be a list of names, got None"),
        ({"task": "multilabel"}, "task must be multiclass for digits, got 'multilabel'. Use dataset.task=multiclass"),
        ({"val": 0.6, "test": 0.4}, "val_fraction \\+ test_fraction must be below 1"),
    ],
)
def test_wrong_facts_are_refused_with_what_the_data_say(wrong, message):
    with pytest.raises(ValueError, match=message):
        digits(**wrong)
