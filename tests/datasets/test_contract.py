"""Every dataset of conf/dataset keeps the promises of interfaces.Images; a new one is tested unlisted."""

import os
import pickle
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.utils.data import default_collate

from dovision.config.inferred_settings import with_inferred_settings
from dovision.functional.sample_order import RARE_SHARE, strata
from dovision.interfaces import Counterfactuals, Images
from dovision.types import BOX_COLUMNS, SOURCE_BOXES, Batch
from made_datasets import write_dataset

ROOT = Path(__file__).resolve().parents[2]
PARTS = sorted((ROOT / "conf" / "dataset").glob("*.yaml"))
SPLITS = ("train", "val", "test")
NEEDED = {"Xrv": "torchxrayvision", "HfDataset": "datasets"}


class Backwards(Iterator, AbstractContextManager):
    """What os.scandir gives, from the last name to the first."""

    def __init__(self, entries):
        self.entries = sorted(entries, key=lambda entry: entry.name)

    def __next__(self):
        if not self.entries:
            raise StopIteration
        return self.entries.pop()

    def __exit__(self, *error): ...


@pytest.fixture(scope="module", params=PARTS, ids=lambda path: path.stem)
def config(request, tmp_path_factory):
    """The config of a dataset that was written here, or whose files are on this machine; else it is skipped."""
    stem = request.param.stem
    data = Path(os.environ.get("DOVISION_TEST_DATA", ROOT.parent / "shared" / "data"))
    real = {"mnist": {"root": str(data / "mnist")}, "chest_xray14": {"root": str(data / "nih"), "split": "patients"}}
    with pytest.MonkeyPatch.context() as patch:
        own = real[stem] if stem in real else write_dataset(stem, tmp_path_factory.mktemp(stem), patch)
        settings = OmegaConf.merge(OmegaConf.load(request.param), own)
        yield with_inferred_settings(OmegaConf.create({"dataset": settings})).dataset


@pytest.fixture(scope="module")
def dataset(config) -> Images:
    if (needed := NEEDED.get(config["_target_"].rpartition(".")[2])) is not None:
        pytest.importorskip(needed)
    try:
        return instantiate(config)
    except (InstantiationException, FileNotFoundError) as error:  # Hydra 1.4 hands on what the dataset raised
        missing = error if isinstance(error, FileNotFoundError) else error.__cause__
        if not isinstance(missing, FileNotFoundError):
            raise
        pytest.skip(f"its files are not on this machine: {missing}")


@pytest.fixture(scope="module")
def again(config, dataset) -> Images:
    """The same dataset, opened where the file system lists its files in another order."""
    scandir, listdir = os.scandir, os.listdir
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", lambda *path: Backwards(scandir(*path)))
        patch.setattr(os, "listdir", lambda *path: sorted(listdir(*path), reverse=True))
        return instantiate(config)


def splits(dataset: Images) -> tuple[str, ...]:
    return SPLITS if dataset.labelled else ("test",)


def some(split) -> list[int]:
    return sorted({0, len(split) // 2, len(split) - 1})


def test_a_dataset_keeps_its_promises(config, dataset, again):
    assert isinstance(dataset, Images)
    assert dataset.task.kind == config.task
    assert dataset.task.classes == tuple(config.classes)
    assert dataset.shape == tuple(config.shape)
    assert dataset.fingerprint == again.fingerprint
    groups = {}
    for name in splits(dataset):
        split = dataset.split(name)
        assert len(split) > 0
        pickled = pickle.loads(pickle.dumps(again.split(name)))  # as a reading process gets it
        for sample in some(split):
            check_item(dataset, split[sample], sample)
            assert all(torch.equal(a, b) for a, b in zip(split[sample], pickled[sample], strict=True))
        stacked = default_collate([split[sample] for sample in some(split)])
        assert all(torch.equal(a, b) for a, b in zip(pickled.batch(some(split)), stacked, strict=True))
        table = dataset.table(name)
        assert table["sample"].tolist() == list(range(len(split)))
        assert table["name"].is_unique
        groups[name] = set(table["group"])
        check_boxes(dataset, dataset.boxes(name), len(split))
    assert not any(groups[one] & groups[other] for one, other in combinations(groups, 2))


def check_boxes(dataset: Images, boxes: pd.DataFrame, samples: int) -> None:
    assert list(boxes.columns) == BOX_COLUMNS
    assert not boxes.duplicated(["sample", "object"]).any()
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
        assert (0 <= int(item.label) < len(dataset.task.classes)) == dataset.labelled
    assert item.sample.dtype == item.group.dtype == torch.int64
    assert item.sample.shape == item.group.shape == ()
    assert int(item.sample) == sample


def test_an_unknown_split_is_refused_with_the_known_ones(dataset):
    with pytest.raises(ValueError, match="split must be one of train, val, test, got 'tset'. Did you mean test"):
        dataset.split("tset")


def test_the_first_samples_of_a_split_are_a_sample_of_it(dataset):
    for name in splits(dataset):
        split, table = dataset.split(name), dataset.table(name)
        assert split.order.tolist() == dataset.order(name).tolist()
        assert sorted(split.order) == list(range(len(split)))
        stratum = strata(split.source.label.numpy())[split.order]
        counted = np.cumsum(stratum[:, None] == np.unique(stratum), axis=0)
        share = counted[-1] / len(stratum)
        expected = np.arange(1, len(stratum) + 1)[:, None] * share
        assert (np.abs(counted - expected)[:, share >= RARE_SHARE] < 1).all()
        source = dataset.source_table(name).iloc[split.order].reset_index(drop=True)
        pd.testing.assert_frame_equal(table.drop(columns="sample"), source)


def test_boxes_and_counterfactuals_are_those_of_the_sample(dataset):
    rows = dataset.source_boxes("test")
    samples = dataset.boxes("test").assign(row=lambda boxes: dataset.order("test")[boxes["sample"].astype(int)])
    assert samples["sample"].is_monotonic_increasing
    columns = [*SOURCE_BOXES[:2], *SOURCE_BOXES[3:]]
    assert sorted(samples[columns].values.tolist()) == sorted(rows[columns].values.tolist())
    if isinstance(dataset, Counterfactuals):
        for sample in (0, 5):
            assert torch.equal(dataset.counterfactual("test", sample), dataset.split("test")[sample].image)
