"""One pixel exchanged for another, in a file that keeps its name, size and time: the fingerprint changes."""

from pathlib import Path

import pytest
import sklearn.datasets
from omegaconf import OmegaConf
from PIL import Image

from dovision.config.component import Component
from dovision.config.sources import resolved
from dovision.datasets import digits as digits_dataset
from dovision.identity import dependencies, digests
from dovision.identity.dependencies import Shared
from dovision.identity.digests import Digests, stat_files
from made_datasets import exchange, flip, write_dataset

CONFIGS = Path(__file__).resolve().parents[2] / "conf" / "dataset"
FILMS = {"shape": [1, 32, 32], "val_fraction": 0.34}
FILM = Path("images_002", "images", "00000008_001.png")


@pytest.fixture(autouse=True)
def settled(monkeypatch):
    """Let a file count as settled at once."""
    for module in (digests, dependencies):
        monkeypatch.setattr(module, "SETTLED", -60.0)


def film(root: Path, settings, patch) -> None:
    """Another film of the same size in bytes."""
    Image.new("L", (32, 32)).save(root / "flat.png")
    content = (root / "flat.png").read_bytes()
    (root / "flat.png").unlink()
    exchange(root / FILM, content + bytes((root / FILM).stat().st_size - len(content)))


def digit(root: Path, settings, patch) -> None:
    """The file is scikit-learn's own."""
    data = sklearn.datasets.load_digits()
    data.images[5, 3, 3] += 1
    patch.setattr(digits_dataset, "load_digits", lambda: data)
    patch.setattr(dependencies, "stat_files", lambda paths: stat_files(paths)._replace(digest="other"))


def arrow(root: Path, settings, patch) -> None:
    (file,) = root.glob("hf/train/*.arrow")
    place = file.read_bytes().rindex(b"IEND") - 40  # in the pixels of the last image
    flip(file, place)


def parquet(root: Path, settings, patch) -> None:
    file = root / "test.parquet"
    flip(file, file.read_bytes().rindex(b"IEND") - 40)  # in the pixels of the last image


def in_file(name: str):
    """Exchange the last bit of a file."""
    return lambda root, settings, patch: flip(root / name)


EXCHANGES = {  # a pixel of the dataset of each configuration
    "chest_xray14": film,
    "cifar10": parquet,
    "digits": digit,
    "hf_dataset": arrow,
    "image_folder": in_file("dog/3.bmp"),
    "mnist": in_file("MNIST/raw/t10k-images-idx3-ubyte"),
    "phantom": lambda root, settings, patch: settings.update(seed=1),  # no pixel is read; other settings draw others
    "table": in_file("images/9.png"),
    "torch_dataset": in_file("dog/3.bmp"),
}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_exchanged_pixel_is_other_data(path, tmp_path, monkeypatch, nih_root):
    if path.stem == "chest_xray14":
        root, settings = nih_root, {**FILMS, "root": str(nih_root)}
    else:
        root = tmp_path / "data"
        settings = write_dataset(path.stem, root, monkeypatch)
    jobs = Shared()

    def found() -> set[str]:
        """By itself, as jobs share it, and from the digests that are kept."""
        dataset = Component("dataset", resolved(OmegaConf.merge(OmegaConf.load(path), settings)))
        images = jobs.images(dataset)
        assert images.files is None or jobs.images(dataset) is images
        return {dataset.make().fingerprint, *(images.identified(Digests(tmp_path).many) for _ in range(2))}

    (before,) = found()
    assert found() == {before}
    EXCHANGES[path.stem](root, settings, monkeypatch)
    (after,) = found()
    assert after != before
