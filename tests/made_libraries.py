"""Small datasets in the layouts that torchvision and Hugging Face's datasets read."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def write_cifar10(root: Path, patch: pytest.MonkeyPatch, batch: int = 20) -> Path:
    """CIFAR-10's files with few images in each; torchvision takes their checksums for those that were published."""
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    md5 = {}
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        data = random.integers(0, 256, (batch, 3072), dtype=np.uint8)
        content = {"data": data, "labels": [row % 10 for row in range(batch)]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CLASSES)}))
    md5 = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    patch.setattr(
        CIFAR10, "train_list", [[f"data_batch_{number}", md5[f"data_batch_{number}"]] for number in range(1, 6)]
    )
    patch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    patch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
    return root


def images(count: int, size: int = 20, seed: int = 0) -> list[Image.Image]:
    random = np.random.default_rng(seed)
    return [Image.fromarray(random.integers(0, 256, (size, size + 4, 3), dtype=np.uint8)) for _ in range(count)]


def hf_parts(**counts: int):
    """A DatasetDict of pictures of cats and dogs, each with a patient who has two."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]), patient=datasets.Value("int64")
    )
    parts = {}
    for number, (split, count) in enumerate(counts.items()):
        rows = {
            "image": images(count, seed=number),
            "label": [row // 2 % 2 for row in range(count)],
            "patient": [1000 * number + row // 2 for row in range(count)],
        }
        parts[split] = datasets.Dataset.from_dict(rows, features=features)
    return datasets.DatasetDict(parts)
