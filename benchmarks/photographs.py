"""Write crops of the photographs of scikit-image and scikit-learn into a folder that dataset=image_folder reads.

    python benchmarks/photographs.py data/photographs

Prints the commands that fit a sparse autoencoder to EfficientNet-Lite0 (ImageNet weights) on them and measure its
latents. The classes are those of ImageNet that the photographs show, so that the head is kept. Training crops come from
the left of each photograph, those of validation and test from the right: no pixel is shared, but the photograph is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import skimage.data
import sklearn.datasets
from PIL import Image

PHOTOGRAPHS = {  # ImageNet's name, and the file
    "Egyptian cat": "chelsea.png",
    "daisy": "flower.jpg",
    "espresso": "coffee.png",
    "missile": "rocket.jpg",
    "monastery": "china.jpg",
    "moped": "motorcycle_left.png",
    "space shuttle": "astronaut.png",
}
FOLDERS = (Path(skimage.data.__file__).parent, Path(sklearn.datasets.__file__).parent / "images")
TRAIN_WIDTH = 0.6  # share of each photograph, from the left
SPLITS = {"train": (0, 60), "val": (1, 20), "test": (1, 20)}  # left or right, and crops of each photograph
LEAST, PIXELS = 96, 160  # side of the smallest crop in the photograph, and of all once resized
COMMAND = """\
dovision-evaluate -m dataset=image_folder dataset.root={root} 'dataset.classes=[{classes}]' \\
  'dataset.shape=[3,{pixels},{pixels}]' model=efficientnet_lite0 training.classifier.epochs=0 intervention=latent \\
  autoencoder=topk_sae autoencoder.after=blocks.4 autoencoder.channels=112 autoencoder.k=16,32 \\
  training.autoencoder.epochs=30 attack=none evaluation.images=70 name=photographs"""


def parts(photograph: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The left of a photograph, and the rest."""
    cut = round(TRAIN_WIDTH * photograph.width)
    return (
        photograph.crop((0, 0, cut, photograph.height)),
        photograph.crop((cut, 0, photograph.width, photograph.height)),
    )


def crop(part: Image.Image, random: np.random.Generator) -> Image.Image:
    """A random square of it."""
    side = int(random.integers(LEAST, min(part.size) + 1))
    left, top = (int(random.integers(0, length - side + 1)) for length in part.size)
    return part.crop((left, top, left + side, top + side)).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    root = parser.parse_args().root
    random = np.random.default_rng(0)
    for name, file in PHOTOGRAPHS.items():
        path = next(folder / file for folder in FOLDERS if (folder / file).exists())
        of_photograph = parts(Image.open(path).convert("RGB"))
        for split, (part, count) in SPLITS.items():
            folder = root / split / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                crop(of_photograph[part], random).save(folder / f"{number:03}.png")
    print(COMMAND.format(root=root, classes=",".join(PHOTOGRAPHS), pixels=PIXELS))


if __name__ == "__main__":
    main()
