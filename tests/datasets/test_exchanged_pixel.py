"""One pixel exchanged for another, in a file that keeps its name, size and time: the fingerprint changes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from torchvision.datasets import CIFAR10

from dovision.config.component import Component
from dovision.config.sources import resolved
from dovision.datasets import digits as digits_dataset
from dovision.identity import digests, shared
from dovision.identity.digests import Digests, stat_files
from dovision.identity.shared import Shared
from dovision.interfaces import Images
from made_birds import write_birds
from made_libraries import hf_parts, write_cifar10, write_films
from made_tables import write_table

CONFIGS = Path(__file__).resolve().parents[2] / "conf" / "dataset"
RANDOM = np.random.default_rng(0)
SPLITS = ("train", "val", "test")
FILMS = {"shape": [1, 32, 32], "val_fraction": 0.34}
FILM = Path("images_002", "images", "00000008_001.png")


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Let a file count as settled at once."""
    for module in (digests, shared):
        monkeypatch.setattr(module, "SETTLED", -60.0)


def exchange(path: Path, flip) -> None:
    """Put a file with other bytes in the place of one, of the same size and with its time."""
    times, content = path.stat(), bytearray(path.read_bytes())
    flip(content)
    path.with_name("new").write_bytes(content)
    os.utime(path.with_name("new"), ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(path.with_name("new"), path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)


def last_bit(content: bytearray) -> None:
    content[-1] ^= 1


def flat(path: Path) -> None:
    """Another film of the same size in bytes."""
    size = path.stat().st_size
    Image.new("L", (32, 32)).save(path.with_name("flat.png"))
    content = path.with_name("flat.png").read_bytes()
    path.with_name("flat.png").unlink()
    exchange(path, lambda old: old.__setitem__(slice(None), content + bytes(size - len(content))))


def idx(array: np.ndarray) -> bytes:
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes((0, 0, 8, array.ndim)) + lengths + array.tobytes()


class Case:
    """A small dataset of one configuration, in a folder; `exchange` exchanges a pixel of it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.settings = self.write()


class Mnist(Case):
    def write(self):
        raw = self.folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for stem, count in (("train", 12), ("t10k", 5)):
            images = RANDOM.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            (raw / f"{stem}-images-idx3-ubyte").write_bytes(idx(images))
            (raw / f"{stem}-labels-idx1-ubyte").write_bytes(idx(np.arange(count, dtype=np.uint8) % 10))
        return {"root": str(self.folder), "val_images": 3}

    def exchange(self):
        exchange(self.folder / "MNIST" / "raw" / "t10k-images-idx3-ubyte", last_bit)


class ChestMnist(Case):
    def write(self, change=0):
        images = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
        images[3, 27, 27] ^= change
        arrays = {f"{split}_labels": np.ones((4, 14), np.uint8) for split in SPLITS}
        np.savez(self.folder / "chestmnist.npz", **arrays, **{f"{split}_images": images for split in SPLITS})
        return {"root": str(self.folder), "verify": False}

    def exchange(self):
        path = self.folder / "chestmnist.npz"
        old, times = path.read_bytes(), path.stat()
        self.write(change=1)
        new = path.read_bytes()
        path.write_bytes(old)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        exchange(path, lambda content: content.__setitem__(slice(None), new))


class ImageFolder(Case):
    def write(self):
        for label in ("cat", "dog"):
            (self.folder / label).mkdir(parents=True)
            for number in range(10):
                pixels = RANDOM.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(self.folder / label / f"{number}.bmp")
        return {"root": str(self.folder), "classes": ["cat", "dog"], "shape": [3, 8, 8]}

    def exchange(self):
        exchange(self.folder / "dog" / "3.bmp", last_bit)


class Pictures(Case):
    def write(self):
        for number in range(2):
            pixels = RANDOM.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.folder / f"{number}.bmp")
        return {"root": str(self.folder), "shape": [3, 8, 8]}

    def exchange(self):
        exchange(self.folder / "1.bmp", last_bit)


class ChestXray14(Case):
    def write(self):
        return {**FILMS, "root": str(self.folder), "store_size": None}

    def exchange(self):
        flat(self.folder / FILM)


class Digits(Case):
    def write(self):
        return {}

    def exchange(self):
        """The file is scikit-learn's own."""
        data = sklearn.datasets.load_digits()
        data.images[5, 3, 3] += 1
        self.monkeypatch.setattr(digits_dataset, "load_digits", lambda: data)
        self.monkeypatch.setattr(shared, "stat_files", lambda paths: stat_files(paths)._replace(digest="other"))


class Phantom(Case):
    """No pixel is read; other settings draw other ones, as other code does, which is part of a run's origin."""

    def write(self):
        return {"train_images": 30, "val_images": 20, "test_images": 20}

    def exchange(self):
        self.settings["seed"] = 1


class FunnyBirds(Case):
    def write(self):
        write_birds(self.folder)
        return {"root": str(self.folder), "classes": ["0", "1"], "shape": [3, 32, 32], "val_fraction": 0.3}

    def exchange(self):
        exchange(self.folder / "test_interventions" / "1" / "000003" / "body_beak_foot.png", last_bit)


class Table(Case):
    def write(self):
        write_table(self.folder)
        return {"root": str(self.folder), "classes": ["cat", "dog"], "shape": [1, 20, 30], "check": "headers"}

    def exchange(self):
        exchange(self.folder / "images" / "9.png", last_bit)


class Cifar10(Case):
    """Of published files no byte can be exchanged unseen: the checksums are taken for those of the changed ones."""

    def write(self):
        write_cifar10(self.folder, self.monkeypatch)
        return {"root": str(self.folder)}

    def exchange(self):
        file = self.folder / CIFAR10.base_folder / "test_batch"
        place = file.read_bytes().index(b"labels") - 100  # in the pixels, which come before the labels
        exchange(file, lambda content: content.__setitem__(place, content[place] ^ 1))
        md5 = hashlib.md5(file.read_bytes()).hexdigest()
        self.monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5]])


class Xrv(Case):
    def write(self):
        pytest.importorskip("torchxrayvision")
        films = write_films(self.folder / "films")
        return {"name": "NIH_Dataset", "arguments": films, "classes": ["Effusion", "Mass"], "shape": [1, 32, 32]}

    def exchange(self):
        flat(self.folder / "films" / "images" / "00000003_001.png")


class HfDataset(Case):
    def write(self):
        pytest.importorskip("datasets")
        hf_parts(train=40).save_to_disk(str(self.folder / "hf"))
        return {"root": str(self.folder / "hf"), "classes": ["cat", "dog"], "shape": [3, 20, 24]}

    def exchange(self):
        (file,) = self.folder.glob("hf/train/*.arrow")
        place = file.read_bytes().rindex(b"IEND") - 40  # in the pixels of the last image
        exchange(file, lambda content: content.__setitem__(place, content[place] ^ 1))


CASES = {
    "cifar10": Cifar10,
    "xrv": Xrv,
    "hf_dataset": HfDataset,
    "table": Table,
    "funnybirds": FunnyBirds,
    "mnist": Mnist,
    "chest_mnist": ChestMnist,
    "image_folder": ImageFolder,
    "chest_xray14": ChestXray14,
    "digits": Digits,
    "phantom": Phantom,
    "pictures": Pictures,
}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_exchanged_pixel_is_other_data(path, tmp_path, monkeypatch, nih_root):
    folder = nih_root if path.stem == "chest_xray14" else tmp_path / "data"
    folder.mkdir(exist_ok=True)
    case = CASES[path.stem](folder, monkeypatch)

    jobs = Shared()

    def found() -> set[str]:
        """By itself, as jobs share it, and from the digests that are kept."""
        dataset = Component("dataset", resolved(OmegaConf.merge(OmegaConf.load(path), case.settings)))
        images = jobs.images(dataset)
        assert images.files is None or not images.labelled or jobs.images(dataset) is images
        return {dataset.make().fingerprint, *(images.identified(Digests(tmp_path).many) for _ in range(2))}

    (before,) = found()
    assert found() == {before}
    case.exchange()
    (after,) = found()
    assert after != before


def prepared(root: Path, store_size: int | None = 32) -> Images:
    settings = {**FILMS, "root": str(root), "store_size": store_size}
    return instantiate(OmegaConf.merge(OmegaConf.load(CONFIGS / "chest_xray14.yaml"), settings))


def test_a_film_exchanged_after_it_was_stored_is_other_data_stored_again_or_not(nih_root):
    prepared(nih_root).prepare()
    before = prepared(nih_root).fingerprint
    flat(nih_root / FILM)
    images = prepared(nih_root)
    sample = images.table("test")["name"].tolist().index("00000008_001.png")
    assert images.split("test")[sample].image.max() == 0
    images.prepare()
    again = prepared(nih_root)
    assert again.facts["images_from_store"]
    assert len({before, images.fingerprint, again.fingerprint}) == 3
    assert again.split("test")[sample].image.max() == 0


def test_films_that_were_only_touched_are_stored_again_as_they_were(nih_root):
    prepared(nih_root).prepare()
    before = prepared(nih_root).fingerprint
    for path in nih_root.glob("images_*/images/*.png"):
        os.utime(path)
    assert not prepared(nih_root).facts["images_from_store"]
    prepared(nih_root).prepare()
    assert prepared(nih_root).fingerprint == before


def test_a_pixel_of_a_store_counts(nih_root):
    prepared(nih_root).prepare()
    before = prepared(nih_root).fingerprint
    (shard,) = (nih_root / "store-32").glob("*.npy")
    exchange(shard, last_bit)
    assert prepared(nih_root).fingerprint != before


def test_films_are_read_for_their_hashes_once_and_then_only_what_has_changed(nih_root, tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    read = []
    sha256 = digests.files.sha256
    monkeypatch.setattr(digests.files, "sha256", lambda path: read.append(Path(path).name) or sha256(path))

    def found() -> str:
        return prepared(nih_root, None).identified(Digests(tmp_path).many)

    before = found()
    assert len(read) == len(set(read)) == 16
    assert "reading 16 of 16 files of the dataset for their hashes" in caplog.text
    assert found() == before
    assert len(read) == 16
    flat(nih_root / FILM)
    assert found() != before
    assert read[16:] == ["00000008_001.png"]
