"""Every dataset of conf/dataset keeps the promises of contracts.Images; a new one is tested unlisted."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pandas as pd
import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from dovision.contracts import BOXES, Batch, Images

ROOT = Path(__file__).resolve().parents[2]
PARTS = sorted((ROOT / "conf" / "dataset").glob("*.yaml"))
SPLITS = ("train", "val", "test")


@pytest.fixture(params=PARTS, ids=lambda path: path.stem)
def config(request, folder_of_images):
    """The part's config; one whose files are not on this machine is pointed to small ones, or skipped."""
    stem = request.param.stem
    data = Path(os.environ.get("DOVISION_TEST_DATA", ROOT.parent / "shared" / "data"))
    overrides = {
        "mnist": {"root": str(data / "mnist")},
        "chest_xray14": {"root": str(data / "nih"), "split": "patients"},
        "image_folder": {"root": str(folder_of_images), "classes": ["cat", "dog"]},
        "phantom": {"train_images": 30, "val_images": 20, "test_images": 20},
    }
    return OmegaConf.merge(OmegaConf.load(request.param), overrides.get(stem, {}))


@pytest.fixture
def dataset(config) -> Images:
    try:
        return instantiate(config)
    except InstantiationException as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        pytest.skip(f"its files are not on this machine: {error.__cause__}")


def some(split) -> list[int]:
    return sorted({0, len(split) // 2, len(split) - 1})


def test_a_dataset_keeps_its_promises(config, dataset):
    assert isinstance(dataset, Images)
    assert dataset.task.kind == config.task
    assert dataset.task.classes == tuple(config.classes)
    assert dataset.shape == tuple(config.shape)
    again = instantiate(config)
    assert dataset.fingerprint == again.fingerprint
    groups = {}
    for name in SPLITS:
        split = dataset.split(name)
        assert len(split) > 0
        for sample in some(split):
            check_item(dataset, split[sample], sample)
            same = pickle.loads(pickle.dumps(again.split(name)))[sample]  # as a reading process gets it
            assert all(torch.equal(a, b) for a, b in zip(split[sample], same, strict=True))
        table = dataset.table(name)
        assert table["sample"].tolist() == list(range(len(split)))
        assert table["name"].is_unique
        groups[name] = set(table["group"])
        check_boxes(dataset, dataset.boxes(name), len(split))
    assert not groups["train"] & groups["val"]
    assert not groups["train"] & groups["test"]
    assert not groups["val"] & groups["test"]


def check_boxes(dataset: Images, boxes: pd.DataFrame, samples: int) -> None:
    assert list(boxes.columns) == BOXES
    assert not boxes.duplicated(["sample", "part"]).any()
    assert boxes["sample"].between(0, samples - 1).all()
    assert set(boxes["label"].dropna()) <= set(dataset.task.classes)
    _, height, width = dataset.shape
    assert ((boxes["top"] >= 0) & (boxes["top"] <= boxes["bottom"]) & (boxes["bottom"] <= height)).all()
    assert ((boxes["left"] >= 0) & (boxes["left"] <= boxes["right"]) & (boxes["right"] <= width)).all()


def check_item(dataset: Images, item: Batch, sample: int) -> None:
    assert item.image.dtype == torch.float32
    assert item.image.shape == dataset.shape
    assert item.image.min() >= 0
    assert item.image.max() <= 1
    assert item.image.max() > item.image.min()
    if dataset.task.multilabel:
        assert item.label.dtype == torch.float32
        assert item.label.shape == (len(dataset.task.classes),)
    else:
        assert item.label.dtype == torch.int64
        assert 0 <= int(item.label) < len(dataset.task.classes)
    assert item.sample.dtype == item.group.dtype == torch.int64
    assert item.sample.shape == item.group.shape == ()
    assert int(item.sample) == sample


def test_an_unknown_split_is_refused_with_the_known_ones(dataset):
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'tset'. Did you mean test"):
        dataset.split("tset")
