"""Which classes are explained, and what a cell is painted over with."""

import pytest
import torch

import dovision as dv
from made_batches import batch_of

ANIMALS = dv.Task("multiclass", ("cat", "dog", "hen"))
FINDINGS = dv.Task("multilabel", ("mass", "edema", "nodule"))


def settings(of: str = "label", **changed) -> dv.MapSettings:
    plain = {"cells": 4, "margin": 0.1, "steps": 4, "fill": dv.Mean(), "noise": 0.01, "num_sanity_images": 0, "seed": 0}
    return dv.MapSettings(of, **{**plain, **changed})


def batch(label: torch.Tensor) -> dv.Batch:
    return batch_of(torch.rand(len(label), 1, 8, 8), label)


@pytest.mark.parametrize(("of", "expected"), [("label", [2, 0]), ("prediction", [1, 0]), ("dog", [1, 1])])
def test_a_multiclass_image_is_explained_for_one_class(of, expected):
    probability = torch.tensor([[0.1, 0.7, 0.2], [0.8, 0.1, 0.1]])
    image, target = settings(of).pairs(batch(torch.tensor([2, 0])), probability, ANIMALS)
    assert image.tolist() == [0, 1]
    assert target.tolist() == expected


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ("label", [(0, 0), (0, 2), (2, 1)]),
        ("prediction", [(0, 1), (2, 0), (2, 2)]),
        ("edema", [(0, 1), (1, 1), (2, 1)]),
    ],
)
def test_a_multilabel_image_is_explained_for_each_of_its_labels_and_an_unknown_one_is_none(of, expected):
    label = torch.tensor([[1.0, 0.0, 1.0], [0.0, float("nan"), 0.0], [0.0, 1.0, 0.0]])
    probability = torch.tensor([[0.2, 0.9, 0.1], [0.1, 0.1, 0.1], [0.6, 0.1, 0.9]])
    image, target = settings(of).pairs(batch(label), probability, FINDINGS)
    assert list(zip(image.tolist(), target.tolist(), strict=True)) == expected


def test_filled_images_are_painted_over_everywhere():
    images = batch(torch.tensor([0, 1]))
    filled = settings().filled(images, dv.Classifier(torch.nn.Flatten(), ANIMALS, [0.5], [0.5]))
    torch.testing.assert_close(filled, images.image.mean((2, 3), keepdim=True).expand_as(images.image))


def test_explainers_are_compared_with_the_one_asked_for_or_the_usual_one_or_the_first():
    assert settings(reference="b").compared(["a", "b", "grad_cam"]) == "b"
    assert settings().compared(["a", "grad_cam"]) == "grad_cam"
    assert settings().compared(["b", "a"]) == "b"
