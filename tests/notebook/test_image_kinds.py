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
    "labels of pandas": lambda: (IMAGES, pd.Series(NAMES, dtype="category")),
    "bytes as names": lambda: dv.ImageData(IMAGES, [name.encode() for name in NAMES]),
    "floats as labels": lambda: (IMAGES, pd.Series(LABELS.tolist(), dtype=float)),
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
    assert dv.ImageData(TensorDataset(IMAGES), size=4).shape(classifier()) == (3, 4, 4)


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


def test_images_drawn_more_than_once_or_in_another_order_than_their_targets_are_refused():
    pairs = TensorDataset(IMAGES, LABELS)
    with pytest.raises(ValueError, match="must be drawn once each"):
        dv.effects(classifier(), DataLoader(pairs, sampler=RandomSampler(pairs, replacement=True)), GRID)
    with pytest.raises(ValueError, match="the number or the order of images is not known"):
        dv.effects(classifier(), DataLoader(pairs, 2, shuffle=True), GRID, target=LABELS)
    with pytest.raises(ValueError, match="a map for each of the images in a known order"):
        dv.explain(classifier(), DataLoader(pairs, 2, shuffle=True), {"mine": np.zeros((6, 8, 8), np.float32)})


class Noise(TensorDataset):
    def __getitem__(self, number):
        return torch.rand(3, 8, 8)


GERMAN = Items(list(zip(IMAGES, LABELS.tolist(), strict=True)), ["Katze", "Hund", "Eule"])
SHARED = (IMAGES, LABELS), TensorDataset(IMAGES[1:].flip(0), LABELS[:5])
WARNED = {
    "5 of 5 test images are validation": lambda: dv.detect(classifier(), SHARED, "max_softmax", "fgsm", eps=0.1),
    "taken by number, 'Katze' as 'cat'": lambda: same(tables(GERMAN), tables((IMAGES, LABELS))),
    "Give black and white as floats": lambda: tables((BYTES > 127).to(torch.uint8)),
    "differ between readings: leave out random tr": lambda: tables(Noise(IMAGES)),
    "differ between readings: leave": lambda: tables(DataLoader(Noise(IMAGES), 2)),
    "lie in .0, 1., as if mean and std, which are undone": lambda: tables(dv.ImageData(IMAGES, mean=MEAN, std=STD)),
    "pairs are by number. Give all": lambda: dv.compare(
        {name: dv.effects(classifier(), images, GRID) for name, images in (("a", IMAGES), ("b", IMAGES / 2))}
    ),
}


@pytest.mark.parametrize(("message", "call"), WARNED.items())
def test_what_may_not_be_meant_is_warned_of(message, call):
    with pytest.warns(UserWarning, match=message):
        call()


@pytest.mark.parametrize("kind", [lambda *pair: pair, TensorDataset, lambda *pair: DataLoader(TensorDataset(*pair), 5)])
def test_copies_of_images_narrow_no_interval(kind):
    image, label = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(20) % 3
    once = dv.effects(classifier(), (image, label), GRID).to_pandas()
    again = dv.effects(classifier(), kind(image.repeat(3, 1, 1, 1), label.repeat(3)), GRID).to_pandas()
    pd.testing.assert_frame_equal(once.drop(columns="images"), again.drop(columns="images"))
    assert again["images"].eq(60).all()


def test_labels_that_a_list_or_a_masked_array_lacks_are_not_known():
    for labels in ([None, 1, 2, 0, 1, 2], np.ma.masked_equal([9, 1, 2, 0, 1, 2], 9), [np.nan, 1, 2, 0, 1, 2]):
        assert dv.ImageData((IMAGES, labels)).whole(classifier()).label.tolist() == [-1, 1, 2, 0, 1, 2]
