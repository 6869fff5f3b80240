"""Images of any kind as a dataset."""

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import dovision as dv

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
NUMBERS = torch.arange(6) % 3


@pytest.mark.parametrize(
    ("data", "classes"),
    [
        ((IMAGES, NUMBERS), ("0", "1", "2")),
        ((IMAGES, ["owl", "cat", "dog"] * 2), ("cat", "dog", "owl")),
        (TensorDataset(IMAGES, NUMBERS), ("0", "1", "2")),
        (DataLoader(TensorDataset(IMAGES, NUMBERS), 4), ("0", "1", "2")),
        ([*zip(IMAGES, NUMBERS.tolist(), strict=True)], ("0", "1", "2")),
    ],
)
def test_images_keep_their_labels_and_name_their_classes(data, classes):
    held = dv.HeldImages(data)
    assert held.task == dv.Task("multiclass", classes)
    batch = held.split("test").batch(range(6))
    rows = held.order("test")
    assert torch.equal(batch.image, IMAGES[rows])
    names = [classes[number] for number in batch.label]
    assert names == [(["owl", "cat", "dog"] if "cat" in classes else ["0", "1", "2"])[row % 3] for row in rows]


def test_splits_are_of_one_task_with_groups_of_their_own():
    held = dv.HeldImages({"validation": (IMAGES, NUMBERS), "train": (IMAGES[:3], NUMBERS[:3])}, ["a", "b", "c"])
    assert [len(held.split(split)) for split in ("train", "val", "test")] == [3, 6, 0]
    assert not set(held.source("train").group.tolist()) & set(held.source("val").group.tolist())
    assert held.fingerprint != dv.HeldImages({"val": (IMAGES, NUMBERS)}).fingerprint


class Named(TensorDataset):
    """Dataset that names the classes of its numbers."""

    def __init__(self, classes, numbers):
        super().__init__(IMAGES, numbers)
        self.classes = classes


def test_numbers_of_each_split_are_matched_by_the_names_of_that_split():
    held = dv.HeldImages({"test": Named(["c", "b"], NUMBERS % 2), "train": Named(["a", "b", "c"], NUMBERS)})
    assert held.task.classes == ("a", "b", "c")
    assert held.source("train").label.tolist() == NUMBERS.tolist()
    assert held.source("test").label.tolist() == [2, 1, 2, 2, 1, 2]


def test_one_colour_picture_makes_all_of_them_rgb():
    grey, colour = Image.new("L", (4, 4), 51), Image.new("RGB", (4, 4), (255, 0, 0))
    held = dv.HeldImages({"train": [(grey, 0)] * 2, "test": DataLoader([(grey, 0), (colour, 1)], collate_fn=list)})
    assert held.shape == (3, 4, 4)
    assert held.source("train").image(0).unique().tolist() == [pytest.approx(0.2)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (IMAGES, "got test images alone"),
        ({}, "data must be images with labels, got none"),
        ({"train": (IMAGES, NUMBERS), "val": TensorDataset(IMAGES)}, "got val images alone"),
        ({"train": (IMAGES, NUMBERS), "test": (IMAGES, ["a", "b", "c"] * 2)}, "names, or numbers, got both"),
        ({"train": Named(["a", "b", "c"], NUMBERS), "test": Named(["a", "z"], NUMBERS % 2)}, "got 'z'"),
        (
            {"train": (IMAGES, NUMBERS), "test": (IMAGES[..., :3], NUMBERS)},
            "one shape .*, got \\(1, 4, 4\\) and \\(1, ",
        ),
        ({"dev": (IMAGES, NUMBERS)}, "one of train, val, test, got 'dev'"),
        ((IMAGES, NUMBERS[:5]), "labels must be int64 of shape \\(6,\\)"),
    ],
)
def test_what_is_no_dataset_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        dv.HeldImages(data)
