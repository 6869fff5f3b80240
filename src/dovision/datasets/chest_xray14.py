"""ChestX-ray14: 112,120 frontal chest films of 30,805 patients, with 14 labels and 984 boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets.readers.file_images import FileImages
from dovision.datasets.readers.manifest import Manifest, labels_from_names, read_manifest
from dovision.datasets.readers.table_rows import Columns, boxes_of_images
from dovision.interfaces import Source
from dovision.io import files
from dovision.types import SPLITS, Task

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
FILM = 1024  # pixels, height and width of the released images, in which boxes are given
ENTRY_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")  # the corrected one first
BOX_TABLES = ("BBox_List_2017.csv",)
LISTS = ("train_val_list.txt", "test_list.txt")
SOURCE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
_COLUMNS = {
    "name": "Image Index",
    "labels": "Finding Labels",
    "patient": "Patient ID",
    "age": "Patient Age",
    "sex": "Patient Sex",
    "view": "View Position",
}
_MEND = "Mend the table."
_RECORD = ["name", "path", "number", "group", "height", "width"]


class ChestXray14(FileImages):
    """The dataset as the NIH released it; a part of the films is enough, and each keeps its split.

    The root holds the tables Data_Entry_2017_v2020.csv or Data_Entry_2017.csv and BBox_List_2017.csv (each may be
    gzipped), the lists train_val_list.txt and test_list.txt, and the films in images_001/images, images_002/images, ...
    or all in images; 1024 x 1024 pixels, or made smaller as a whole. Boxes are read in pixels of the 1024 x 1024 film.
    A film is resized to cover the shape, its centre taken, and its boxes with it.

    The fingerprint covers names, patients, findings, boxes and splits of the films on disk, and their bytes.

    Args:
        root: the folder.
        task, classes, shape: of the data; classes are some or all of the 14 labels, channels 1 or 3 (grey, repeated).
        split: official, by the lists, with val cut from train_val by patient; or patients, which cuts all by patient.
        val_fraction: share of the films, cut by patient, of those in train_val for the official split.
        test_fraction: share of the films, where split is patients.
        seed: of the cut.

    Raises:
        FileNotFoundError: a table, a list or the films are missing.
        ValueError: a row of a table is wrong, a patient is in both lists, a split is empty, a fact is not possible.

    Source: Wang et al., ChestX-ray8, CVPR 2017, arXiv:1705.02315.

    Example:
        >>> import dovision as dv
        >>> dv.component("dataset", "chest_xray14", {"root": "nowhere"})
        Traceback (most recent call last):
            ...
        ValueError: dataset.chest_xray14: Data_Entry_2017_v2020.csv or ...
    """

    def __init__(
        self,
        root: str,
        task: str,
        classes: Sequence[str] | None,
        shape: Sequence[int],
        split: str,
        val_fraction: float,
        test_fraction: float,
        seed: int,
    ) -> None:
        folder = Path(root).resolve()
        self.task = _checks.task(task, classes, ("multilabel",), "ChestX-ray14")
        for name in self.task.classes:
            checks.choice("classes", name, FINDINGS)
        self.shape = _image_io.grey_or_rgb_shape(shape)
        _splits.check_fractions(val_fraction, test_fraction)
        entries, labels = read_entries(folder)
        official = checks.choice("split", split, ("official", "patients")) == "official"
        lists = official_lists(folder) if official else {}
        entries["split"] = split_films(entries, labels, lists, val_fraction, test_fraction, seed)
        films = entries.assign(entry=range(len(entries))).merge(films_on_disk(folder), on="name")
        self.rows = {name: np.flatnonzero(films["split"] == name).tolist() for name in SPLITS}
        self._patients = torch.tensor(films["patient"].to_numpy())
        self.labels = labels[films["entry"].tolist()][:, [FINDINGS.index(name) for name in self.task.classes]]
        records = films.assign(number=None, height=FILM, width=FILM, group=films["patient"].astype(str))
        self.records = records[[*_RECORD, "patient", "age", "sex", "view", "labels"]]
        self.boxes_in_files = read_boxes(folder, entries["name"], self.records, self.task.classes)
        self.recorded = {
            "lists_sha256": {name: files.sha256(folder / name) for name in lists},
            "listed": len(entries),
            "on_disk": len(films),
            "missing": len(entries) - len(films),
            "boxes": len(self.boxes_in_files),
            "films": {name: len(rows) for name, rows in self.rows.items()},
            "patients": {name: int(films["patient"].iloc[rows].nunique()) for name, rows in self.rows.items()},
        }
        _splits.check_classes(self.rows, self.labels, self.task.classes)
        self.identify(b"", [folder], images_read=False)

    def source(self, split: str) -> Source:
        return super().source(split)._replace(group=self._patients[self.rows[split]])

    def source_table(self, split: str) -> pd.DataFrame:
        """Columns besides `name`: `patient`, `age` in years, `sex`, `view` (PA or AP), `labels` joined by "|"."""
        return super().source_table(split).drop(columns=["height", "width"])


def split_films(
    entries: pd.DataFrame,
    labels: Tensor,
    lists: Mapping[str, frozenset[str]],
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> npt.NDArray[np.object_]:
    """Split each entry: by the official lists, with val cut by patient from train_val, or all cut by patient.

    Each split that is cut has its share of the films and of each of the 14 findings.

    Raises:
        ValueError: a film is in none of the lists, or a patient in both.
    """
    cut = np.arange(len(entries))
    if lists:
        listed = {name: np.flatnonzero(entries["name"].isin(lists[name])) for name in LISTS}
        unlisted = np.setdiff1d(cut, np.concatenate([*listed.values()]))
        if len(unlisted):
            raise ValueError(
                f"each film must be in {' or '.join(LISTS)}, but {len(unlisted):,} are in neither, such as "
                f"{entries['name'].iloc[unlisted[0]]}. Take the lists as they were released."
            )
        patients = {name: entries["patient"].iloc[rows] for name, rows in listed.items()}
        _splits.check_disjoint(patients, "patient", "Take the lists as they were released.")
        cut, test_fraction = listed[LISTS[0]], 0
    patient = entries["patient"].iloc[cut].tolist()
    rows = _splits.split_groups(patient, labels.numpy()[cut], val_fraction, test_fraction, seed)
    splits = np.full(len(entries), "test", dtype=object)
    for name, places in rows.items():
        splits[cut[list(places)]] = name
    return splits


def read_entries(root: Path) -> tuple[pd.DataFrame, Tensor]:
    """Read a row per image: name, labels (joined by "|"), patient (int64), age (years), sex, view; and the 14 labels.

    Raises:
        FileNotFoundError: the table is missing.
        ValueError: the table lacks a column, or a row has no patient, an unknown label or another row's image.
    """
    table = _table(root, ENTRY_TABLES)
    table = table._replace(cells=table.cells.rename(columns={"Patient Gender": "Patient Sex"}))
    cells = pd.DataFrame({name: table.column(column, "ChestX-ray14") for name, column in _COLUMNS.items()})
    number = cells["patient"].str.fullmatch("[0-9]{1,18}")  # what int64 holds exactly
    table.refuse("Patient ID", ~number, "a patient's number", _MEND)
    table.refuse("Image Index", cells["name"].duplicated(), "an image that no other row has", _MEND)
    labels = labels_from_names(table, "Finding Labels", Task("multilabel", FINDINGS), ignored=("No Finding",))
    age = pd.to_numeric(cells["age"].str.removesuffix("Y"), errors="coerce")
    return cells.assign(patient=cells["patient"].astype(np.int64), age=age).reset_index(drop=True), labels


def read_boxes(root: Path, names: pd.Series[str], films: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Read a row per box of films, as of `file_boxes`, in whole pixels of the 1024 x 1024 film.

    Raises:
        FileNotFoundError: the table is missing.
        ValueError: the table lacks a column, or a row has an unknown label, an image that has no entry, or a box
            outside the film.
    """
    table = _table(root, BOX_TABLES)
    label = table.column("Finding Label", "ChestX-ray14").replace("Infiltrate", "Infiltration")
    table.refuse("Finding Label", ~label.isin(FINDINGS), "one of the 14 labels", _MEND)
    table = table._replace(cells=table.cells.assign(**{"Finding Label": label}))
    columns = Columns(path="Image Index", slice=None, box_label="Finding Label")
    return boxes_of_images(table, root, films, classes, columns, frozenset(names))


def official_lists(root: Path) -> dict[str, frozenset[str]]:
    """Read the names in train_val_list.txt and test_list.txt.

    Raises:
        FileNotFoundError: one of them is missing.
    """
    for name in LISTS:
        if not (root / name).is_file():
            raise FileNotFoundError(
                f"{name} must lie in {root} for the official split. Fetch it from {SOURCE}, or cut by patient with "
                "dataset.split=patients."
            )
    return {name: frozenset(files.read_text(root / name).split()) for name in LISTS}


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
    paths = [path for folder in folders for path in folder.glob("[!.]*.png")]
    films = pd.DataFrame({"name": [path.name for path in paths], "path": list(map(str, paths))}, dtype=object)
    twice = films["name"].duplicated(keep=False)
    if twice.any():
        one, other = films[twice].sort_values("name", kind="stable")["path"].iloc[:2]
        raise ValueError(f"each film must lie in one folder, but one lies at {one} and {other}. Remove one of them.")
    return films


def _table(root: Path, names: Sequence[str]) -> Manifest:
    path = next((path for name in names for path in (root / name, root / f"{name}.gz") if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{' or '.join(names)} must lie in {root}, which holds no such file. Fetch it from {SOURCE}, or set "
            "dataset.root to the folder that holds it."
        )
    return read_manifest(path, path.name)
