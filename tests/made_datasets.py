"""A small dataset of each configuration, in a folder: what to write, and the settings that read it."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from made_tables import write_table

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Settings = dict[str, Any]


def exchange(path: Path, content: bytes) -> None:
    """Put another file in the place of one, with its time."""
    assert path.read_bytes() != content
    times = path.stat()
    path.with_name("new").write_bytes(content)
    os.utime(path.with_name("new"), ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(path.with_name("new"), path)


def flip(path: Path, place: int = -1) -> None:
    """Exchange a bit of the byte at a place, in a file that keeps its size and time."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    exchange(path, bytes(content))


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as an IDX file."""
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes((0, 0, 8, array.ndim)) + lengths + array.tobytes()


def write_mnist(root: Path) -> Settings:
    raw, random = root / "MNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for stem, count in (("train", 12), ("t10k", 5)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (raw / f"{stem}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{stem}-labels-idx1-ubyte").write_bytes(idx(np.arange(count, dtype=np.uint8) % 10))
    return {"root": str(root), "val_images": 3}


def write_folders(root: Path, width: int = 24, file: str = "{number}.bmp") -> Settings:
    """Ten files of 20 pixels in height in each of the classes cat and dog."""
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for number in range(10):
            pixels = random.integers(0, 256, (20, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / file.format(number=number, pair=number // 2, label=label))
    return {"root": str(root), "classes": ["cat", "dog"], "shape": [3, 20, 20]}


def write_pictures(folder: Path, seed: int = 0) -> Path:
    """Grey pictures of two classes in three splits, each file of the same size in bytes."""
    random = np.random.default_rng(seed)
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for label, level in (("dark", 60), ("light", 180)):
            (folder / split / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = random.integers(level, level + 60, (16, 16), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.bmp")
    return folder


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


def write_hf(root: Path) -> Settings:
    hf_parts(train=40, test=6).save_to_disk(str(root / "hf"))
    settings = {"root": str(root / "hf"), "classes": ["cat", "dog"], "shape": [3, 20, 24]}
    return {**settings, "columns": {"group": "patient"}}


def write_classes(root: Path, pixels: Iterable[np.ndarray], ending: str = ".png") -> Settings:
    """Files of dogs and cats in turn in two folders, and a table of them."""
    rows = ["path,label"]
    for number, image in enumerate(pixels):
        name = f"{('dog', 'cat')[number % 2]}/{number}{ending}"
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(image).save(root / name)
        rows.append(f"{name},{name[:3]}")
    (root / "metadata.csv").write_text("\n".join(rows))
    return {"root": str(root), "classes": ["cat", "dog"]}


def write_classes_hf(root: Path, pixels: Iterable[np.ndarray], ending: str = ".png") -> Settings:
    """The same files in a dataset of Hugging Face."""
    datasets = pytest.importorskip("datasets")
    write_classes(root / "files", pixels, ending)
    paths = sorted((root / "files").glob(f"*/*{ending}"))
    cells = [{"image": {"bytes": path.read_bytes(), "path": None}, "label": path.parent.name} for path in paths]
    features = datasets.Features(image=datasets.Image(), label=datasets.Value("string"))
    datasets.Dataset.from_list(cells, features=features).save_to_disk(str(root / "hf"))
    return {"root": str(root / "hf"), "classes": ["cat", "dog"]}


OF_FILES = {"image_folder": write_classes, "table": write_classes, "hf_dataset": write_classes_hf}


def write_cifar10(root: Path) -> Settings:
    """Parquet files of PNG bytes, in the layout of Hugging Face."""
    datasets = pytest.importorskip("datasets")
    random = np.random.default_rng(0)
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=list(CLASSES)))
    for split, count in (("train", 100), ("test", 20)):
        images = [Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)) for _ in range(count)]
        rows = {"image": images, "label": [row % 10 for row in range(count)]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(root / f"{split}.parquet"))
    return {"root": str(root)}


def write_torch(root: Path) -> Settings:
    """Class folders, as torchvision reads them."""
    settings = write_folders(root)
    return {**settings, "source": {"_target_": "torchvision.datasets.ImageFolder", "_partial_": True}}


def write_rows(root: Path) -> Settings:
    return {"root": str(write_table(root)), "classes": ["cat", "dog"], "shape": [1, 20, 30]}


WRITERS: dict[str, Callable[[Path], Settings]] = {
    "cifar10": write_cifar10,
    "digits": lambda root: {},
    "hf_dataset": write_hf,
    "image_folder": write_folders,
    "mnist": write_mnist,
    "phantom": lambda root: {"train_images": 30, "val_images": 20, "test_images": 20},
    "table": write_rows,
    "torch_dataset": write_torch,
}


def write_dataset(name: str, root: Path, patch: pytest.MonkeyPatch) -> Settings:
    """Write the dataset of a configuration, and return its settings; ChestX-ray14 has the fixture nih_root."""
    root.mkdir(parents=True, exist_ok=True)
    return WRITERS[name](root) if name in WRITERS else {}  # such as the example of docs/extend, which draws its images
