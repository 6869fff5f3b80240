"""Images in more ways than those of test_adapters.py: the tables are those of the plain tensor."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, RandomSampler, Subset, TensorDataset

import dovision as dv

BYTES = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
IMAGES = BYTES.float() / 255
LABELS = torch.arange(6) % 3
NAMES = [("cat", "dog", "owl")[number] for number in LABELS]
MIXED_UP = [2, 0, 1, 2, 0, 1]  # the numbers of the classes dog, owl, cat
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NORMALISED = (IMAGES - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
LAST = np.moveaxis(BYTES.numpy(), 1, -1)
PIL = [Image.fromarray(pixels) for pixels in LAST]
GRID = dv.PixelGrid(2, 2)


def classifier() -> dv.Classifier:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
    )
    return dv.wrap(network, ["cat", "dog", "owl"], MEAN, STD)


class Items(Dataset):
    """A map-style dataset of a list."""

    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        return self.items[number]


def dicts(image, label=LABELS, image_key="image", label_key="label"):
    return [{image_key: one, label_key: int(number)} for one, number in zip(image, label, strict=True)]


def hf(**columns):
    datasets = pytest.importorskip("datasets")
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "owl"])}
    held = {"image": PIL, "label": LABELS.tolist()} | columns
    return datasets.Dataset.from_dict(held, datasets.Features(features))


def hf_processed():
    """As `with_transform(processor)` gives it."""
    change = {"pixel_values": list(NORMALISED), "labels": LABELS.tolist()}
    numbered = pytest.importorskip("datasets").Dataset.from_dict({"number": list(range(6))})
    return numbered.with_transform(lambda rows: {key: [change[key][n] for n in rows["number"]] for key in change})


LABELLED = {
    "list of a pair": lambda: [IMAGES, LABELS],
    "bytes": lambda: (BYTES, LABELS.int()),
    "labels apart": lambda: dv.ImageData(IMAGES, labels=NAMES),
    "batch": lambda: dv.Batch(IMAGES, LABELS, torch.arange(6), torch.arange(6)),
    "arrays, float, channels last": lambda: (np.moveaxis(IMAGES.numpy(), 1, -1), NAMES),
    "list of arrays": lambda: ([*LAST], LABELS),
    "list of tensors": lambda: (list(IMAGES), LABELS),
    "dataset with classes in another order": lambda: Items([*zip(PIL, MIXED_UP, strict=True)], ["dog", "owl", "cat"]),
    "joined datasets": lambda: ConcatDataset([Items([*zip(PIL, MIXED_UP, strict=True)], ["dog", "owl", "cat"])]),
    "part of a dataset": lambda: Subset(TensorDataset(IMAGES.roll(2, 0), LABELS.roll(2)), [2, 3, 4, 5, 0, 1]),
    "loader of bytes": lambda: DataLoader(TensorDataset(BYTES, LABELS), 4),
    "loader of a processor": lambda: DataLoader(Items(dicts(NORMALISED, LABELS, "pixel_values", "labels")), 4),
    "loader of lists of items": lambda: DataLoader(Items([*zip(PIL, NAMES, strict=True)]), 4, collate_fn=list),
    "loader of lists of dicts": lambda: DataLoader(Items(dicts(PIL)), 4, collate_fn=list),
    "mapping of splits": lambda: {"train": None, "test": TensorDataset(IMAGES, LABELS)} | {"train": (IMAGES, LABELS)},
    "Hugging Face, with torch": lambda: hf().with_format("torch"),
    "Hugging Face, with numpy": lambda: hf().with_format("numpy"),
    "Hugging Face, with a processor": hf_processed,
}  # fmt: skip


def tables(data, **arguments) -> tuple[pd.DataFrame, pd.DataFrame]:
    result = dv.effects(classifier(), data, GRID, **arguments)
    return result.samples, result.rows(range(6))


def same(got, expected) -> None:
    for one, other in zip(got, expected, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=False, atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def labelled_tables():
    return tables((IMAGES, LABELS))


@pytest.mark.parametrize("data", LABELLED.values(), ids=LABELLED)
def test_labelled_images_of_any_kind_give_the_tables_of_the_tensor(data, labelled_tables):
    same(tables(data()), labelled_tables)


def test_images_without_labels_give_the_tables_of_the_tensor():
    same(tables(DataLoader(Items(PIL), 4, collate_fn=list)), tables(IMAGES))


def test_normalised_images_of_few_values_are_what_they_are():
    grey = torch.full((2, 3, 8, 8), 0.6)
    normalised = (grey - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    data = dv.ImageData({"pixel_values": normalised})
    assert torch.allclose(data.whole(classifier()).image, grey, atol=1e-6)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([["Cat", "Dog", "Owl"]], "must be of the classifier's classes, got 'Cat'. Did you mean cat?"),
        ([["cat", "dog", "owl"], ["cat", "owl", "dog"]], "must mean the same in each data set of a ConcatDataset"),
    ],
)
def test_classes_that_differ_in_case_or_in_joined_datasets_are_refused(classes, message):
    pairs = list(zip(IMAGES, LABELS.tolist(), strict=True))
    data = ConcatDataset([Items(pairs, names) for names in classes])
    with pytest.raises(ValueError, match=message):
        dv.effects(classifier(), data, GRID)


def test_labels_of_classes_of_other_names_are_taken_by_number_with_a_warning():
    data = Items(list(zip(IMAGES, LABELS.tolist(), strict=True)), ["Katze", "Hund", "Eule"])
    with pytest.warns(UserWarning, match="taken by number, 'Katze' as 'cat'"):
        assert torch.equal(dv.ImageData(data).whole(classifier()).label, LABELS)


def test_images_drawn_more_than_once_or_in_another_order_than_their_targets_are_refused():
    pairs = TensorDataset(IMAGES, LABELS)
    with pytest.raises(ValueError, match="must be drawn once each"):
        dv.effects(classifier(), DataLoader(pairs, sampler=RandomSampler(pairs, replacement=True)), GRID)
    with pytest.raises(ValueError, match="the number or the order of images is not known"):
        dv.effects(classifier(), DataLoader(pairs, 2, shuffle=True), GRID, target=LABELS)
    with pytest.raises(ValueError, match="a map for each of the images in a known order"):
        dv.explain(classifier(), DataLoader(pairs, 2, shuffle=True), {"mine": np.zeros((6, 8, 8), np.float32)})


def test_detectors_scored_on_the_images_that_set_them_are_warned_of():
    with pytest.warns(UserWarning, match="5 of 5 test images are validation images"):
        dv.detect(classifier(), ((IMAGES, LABELS), (IMAGES[1:].flip(0), LABELS[:5])), "max_softmax", "fgsm", eps=0.1)


def test_integers_of_black_and_white_are_warned_of():
    with pytest.warns(UserWarning, match="Give black and white as floats"):
        dv.effects(classifier(), (BYTES > 127).to(torch.uint8), intervention=GRID, target=LABELS)
