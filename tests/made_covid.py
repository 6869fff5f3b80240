"""Films drawn with lungs and their masks, laid out as the public collection of COVID-19 films."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

COVID, HEALTHY = "Pneumonia/Viral/COVID-19", "No Finding"
HEADER = ["patientid", "sex", "age", "finding", "view", "modality", "folder", "filename"]
SIZE = 128  # pixels


def write_covid(root: Path, patients: int = 60) -> Path:
    """metadata.csv, images/ and masks/: two films a patient, sick ones with opacities inside their lungs.

    The last rows are as many in the collection: a side view, a CT, another finding, a film without a mask.
    """
    random = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(2 * patients):
        finding = (COVID, HEALTHY)[number // 2 % 2]
        film, mask = _film(random, finding == COVID)
        name = f"film-{number:03d}.png"
        Image.fromarray(film).save(root / "images" / name)
        Image.fromarray(mask).save(root / "masks" / name)
        rows.append([number // 2, "MF"[number % 2], 40 + number % 40, finding, ("PA", "AP")[number % 2], "X-ray"])
        rows[-1] += ["images", name]
    for finding, view, modality in ((COVID, "L", "X-ray"), (COVID, "Axial", "CT"), ("Tuberculosis", "PA", "X-ray")):
        rows.append([len(rows), "F", "", finding, view, modality, "volumes", "not-there.png"])
    (root / "masks" / "film-000.png").unlink()
    with (root / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return root


def _film(random: np.random.Generator, sick: bool) -> tuple[np.ndarray, np.ndarray]:
    """A film and the mask of its lungs, shape (SIZE, SIZE), 8 bits."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    shift = random.normal(0, 0.015, 2)
    lungs = np.zeros((SIZE, SIZE), bool)
    for middle in (0.3, 0.7):
        lungs |= ((x - middle - shift[0]) / 0.15) ** 2 + ((y - 0.5 - shift[1]) / 0.32) ** 2 < 1
    film = 0.62 - 0.36 * lungs + 0.05 * np.sin(60 * y) * lungs
    places = np.argwhere(lungs)
    for row, column in places[random.integers(len(places), size=5 if sick else 0)]:
        distance = (y - row / SIZE) ** 2 + (x - column / SIZE) ** 2
        film += 0.22 * np.exp(-distance / 0.004) * lungs
    film += random.normal(0, 0.03, film.shape)
    return (film.clip(0, 1) * 255).astype(np.uint8), lungs.astype(np.uint8) * 255
