"""Tables of ChestX-ray14: labels, boxes and official lists, checked row by row, without any image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from dovision import checks
from dovision.datasets.readers.boxes import file_boxes
from dovision.datasets.readers.manifest import read_manifest
from dovision.io import files

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
HEALTHY = "No Finding"
FILM = 1024  # pixels, height and width of the released images, in which boxes are given
ENTRY_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")  # the corrected one first
BOX_TABLES = ("BBox_List_2017.csv",)
LISTS = ("train_val_list.txt", "test_list.txt")
SOURCE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"

_COLUMNS = {
    "Image Index": "name",
    "Finding Labels": "findings",
    "Patient ID": "patient",
    "Patient Age": "age",
    "Patient Gender": "sex",
    "Patient Sex": "sex",
    "View Position": "view",
}
_MEND = "Mend the table."
_EDGES = ("x", "y", "w", "h")  # of a box: left, top, width, height


def read_entries(root: Path) -> pd.DataFrame:
    """Read a row per image: name, findings (joined by "|"), patient (int64), age (years), sex, view.

    Raises:
        FileNotFoundError: the table is missing.
        ValueError: the table lacks a column, or a row has no patient, an unknown label or another row's image.
    """
    path = _locate(root, ENTRY_TABLES)
    table = read_manifest(path, path.name).renamed(_COLUMNS)
    for column in _COLUMNS.values():
        table.column(column, "ChestX-ray14")
    cells = table.cells[[*dict.fromkeys(_COLUMNS.values())]]
    number = cells["patient"].str.fullmatch("[0-9]{1,18}")  # what int64 holds exactly
    table.refuse("patient", ~number, "a patient's number", _MEND)
    table.refuse("name", cells["name"].duplicated(), "an image that no other row has", _MEND)
    for findings in cells["findings"].unique():
        if unknown := [name for name in findings.split("|") if name not in (*FINDINGS, HEALTHY)]:
            remedy = f"{checks.suggestion(unknown[0], FINDINGS)} {_MEND}".strip()
            table.refuse(
                "findings", cells["findings"] == findings, f"labels of ChestX-ray14, not {unknown[0]!r}", remedy
            )
    age = pd.to_numeric(cells["age"].str.removesuffix("Y"), errors="coerce")
    return cells.assign(patient=cells["patient"].astype(np.int64), age=age).reset_index(drop=True)


def label_matrix(findings: pd.Series[str], classes: Sequence[str]) -> npt.NDArray[np.float32]:
    """Label matrix of zeros and ones, shape (N, K); all zeros for a film without any of the classes."""
    code, combinations = pd.factorize(findings)
    present = [[name in combination.split("|") for name in classes] for combination in combinations]
    return np.array(present, dtype=np.float32)[code]


def read_finding_boxes(
    root: Path, image_names: pd.Series[str], films: pd.DataFrame, classes: Sequence[str]
) -> pd.DataFrame:
    """Read a row per box of films, as of `file_boxes`, in whole pixels of the 1024 x 1024 film.

    Raises:
        FileNotFoundError: the table is missing.
        ValueError: the table lacks a column, or a row has an unknown label, an image that has no entry, or a box
            outside the film.
    """
    path = _locate(root, BOX_TABLES)
    table = read_manifest(path, path.name)
    names = ["name", "label", *_EDGES]
    if table.cells.shape[1] < len(names):
        raise ValueError(
            f"{path} must have {len(names)} columns, of the image, the label and a box's x, y, w and h, got "
            f"{checks.listed(list(table.cells))}. Fetch it again from {SOURCE}."
        )
    table = table.renamed(dict(zip(table.cells, names, strict=False)))
    label = table.cells["label"].replace("Infiltrate", "Infiltration")
    table.refuse("label", ~label.isin(FINDINGS), "one of the 14 labels", _MEND)
    table.refuse("name", ~table.cells["name"].isin(image_names), "an image of the entry table", _MEND)
    return file_boxes(table, films.assign(height=FILM, width=FILM), table.cells["name"], label, classes)


class Lists(NamedTuple):
    """Names of the official lists."""

    train_val: frozenset[str]
    test: frozenset[str]
    sha256: dict[str, str]  # of each file's bytes, by its name


def lists(root: Path) -> Lists:
    """Read train_val_list.txt and test_list.txt.

    Raises:
        FileNotFoundError: one of them is missing.
    """
    for name in LISTS:
        if not (root / name).is_file():
            raise FileNotFoundError(
                f"{name} must lie in {root} for the official split. Fetch it from {SOURCE}, or cut by patient with "
                "dataset.split=patients."
            )
    train_val, test = (frozenset(files.read_text(root / name).split()) for name in LISTS)
    digests = {name: hashlib.sha256(files.read_bytes(root / name, files.TEXT)).hexdigest() for name in LISTS}
    return Lists(train_val, test, digests)


def films_on_disk(root: Path) -> pd.DataFrame:
    """List the PNG files, a row per file: name and path.

    The files lie in images_001/images, images_002/images, ... as they are released, or all in images.
    """
    folders = [folder for folder in (*sorted(root.glob("images_*/images")), root / "images") if folder.is_dir()]
    if not folders:
        raise FileNotFoundError(
            f"{root} must hold the films in images_001/images, images_002/images, ... or in images, but has no such "
            "folder. Unpack the archives there, or set dataset.root."
        )
    paths = [path for folder in folders for path in folder.iterdir() if path.suffix == ".png"]
    paths = [path for path in paths if not path.name.startswith(".")]
    films = pd.DataFrame({"name": [path.name for path in paths], "path": list(map(str, paths))}, dtype=object)
    twice = films["name"].duplicated(keep=False)
    if twice.any():
        one, other = films[twice].sort_values("name", kind="stable")["path"].iloc[:2]
        raise ValueError(f"each film must lie in one folder, but one lies at {one} and {other}. Remove one of them.")
    return films


def _locate(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        for path in (root / name, root / f"{name}.gz"):
            if path.is_file():
                return path
    raise FileNotFoundError(
        f"{' or '.join(names)} must lie in {root}, which holds no such file. Fetch it from {SOURCE}, or set "
        "dataset.root to the folder that holds it."
    )
