"""FunnyBirds: rendered birds with known parts, part maps and pictures without one part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from dovision import checks
from dovision.datasets import _checks, _image_io, _splits
from dovision.datasets.readers.record_images import RecordImages
from dovision.functional import geometry
from dovision.interfaces import Counterfactuals, Source
from dovision.io import files
from dovision.runtime.progress import DISPLAY
from dovision.types import SOURCE_BOXES, Box

MIN_CHANGED = 3  # pixels that must change when an object is taken away; fewer count as hidden
BODY = "body"  # the part that every picture keeps
_BACKGROUND = "background"  # the kind of objects that are part of no bird
_COLOURS = {  # of part maps; parts that a bird has twice have two
    "beak": ((255, 255, 0),),
    "eye": ((255, 255, 253), (255, 255, 254)),
    "foot": ((255, 0, 1), (255, 0, 2)),
    "tail": ((0, 0, 255),),
    "wing": ((0, 255, 1), (0, 255, 2)),
}


class FunnyBirds(RecordImages, Counterfactuals):
    """FunnyBirds in its authors' layout; a part of it is enough: fewer classes, pictures or removals.

    The root holds train/CLASS/NUMBER.png, test/CLASS/NUMBER.png and the tables classes.json, parts.json,
    dataset_train.json and dataset_test.json, in which a picture has the place NUMBER. Each test picture is drawn again
    in test_interventions/CLASS/NUMBER/ without some of the bird's parts, in a file named after the parts that are left,
    joined by "_", and in background_interventions/OBJECT.png there without an object of the background. Pictures are
    resized to cover the shape, and their centre taken. Validation pictures are cut from the training ones.

    An object of a test picture is a part, such as wing, which speaks for the class of the bird, or an object of the
    background, such as background0, which speaks for none. One that changes fewer than 3 pixels when it is taken away
    is hidden, and left out. The box of an object is that of all pixels that change without it. The table has
    `background_objects`, how many the scene has, seen or not.

    Args:
        root: the folder, such as FunnyBirds.
        task, classes, shape: of the data; classes are named after their numbers, 3 channels.
        val_fraction: share of the training pictures.
        seed: of the cut.

    Raises:
        FileNotFoundError: a folder, a table or a picture is missing.
        ValueError: a table is wrong, or a fact is not what the data say.

    Source: Hesse, Schaub-Meyer and Roth, FunnyBirds, ICCV 2023, arXiv:2308.06248.

    Example:
        >>> import dovision as dv
        >>> dv.component("dataset", "funnybirds", {"root": "nowhere"})
        Traceback (most recent call last):
            ...
        ValueError: dataset.funnybirds: root must be a folder as FunnyBirds is ...
    """

    def __init__(
        self,
        root: str,
        task: str,
        classes: Sequence[str],
        shape: Sequence[int],
        val_fraction: float,
        seed: int,
    ) -> None:
        self._root = Path(root).resolve()
        self.files = (self._root,)
        self.task = _checks.task(task, classes, ("multiclass",), "FunnyBirds")
        self.shape = _image_io.grey_or_rgb_shape(shape)
        _splits.check_fractions(val_fraction, 0)
        models = self._models()
        _checks.agree("classes", self.task.classes, list(models))
        self.part_models: dict[str, dict[str, int]] = {
            name: dict(model.get("parts", {})) for name, model in models.items()
        }
        self.bird_parts = frozenset(self._table("parts.json", dict)) - {BODY}
        train, test = (self._pictures(split, len(models)) for split in ("train", "test"))
        cut = _splits.split_groups(range(len(train)), train["label"].tolist(), val_fraction, 0, seed)
        pictures = pd.concat([train, test], ignore_index=True)
        self.records = pictures[["name", "number", "background_objects"]].assign(group=pictures["name"])
        self.labels = torch.tensor(pictures["label"].to_numpy())
        self.rows = {**cut, "test": range(len(train), len(pictures))}
        drawn = [path for paths in self._removals for path in paths.values()]
        self.unread = (*(self._root / name for name in pictures["name"]), *drawn)
        described = [
            repr((self.task.classes, self.shape, sorted(self.bird_parts), models)),
            train.to_csv(),
            test.to_csv(),
        ]
        names = (path.relative_to(self._root).as_posix() for path in self.unread)
        self.content = _checks.fingerprint((text.encode() for text in (*described, *names)), cut)
        self.recorded = {"pictures": {name: len(rows) for name, rows in self.rows.items()}}

    def source(self, split: str) -> Source:
        number = self.records["number"].to_numpy()[list(self.rows[split])]
        return super().source(split)._replace(group=torch.from_numpy(number))

    def source_boxes(self, split: str) -> pd.DataFrame:
        """Box of the pixels that change without an object; none in training and validation pictures."""
        rows = []
        for row, objects in enumerate(self._objects if split == "test" else ()):
            label = self.task.classes[int(self.labels[self.rows[split][row]])]
            rows += [(row, obj, label if obj in self.bird_parts else None, *box) for obj, box in objects.items()]
        return pd.DataFrame(rows, columns=SOURCE_BOXES)

    def source_objects(self, split: str, row: int) -> tuple[str, ...]:
        """Removable objects of a test picture: its parts, and those of its background."""
        return tuple(self._objects[row]) if split == "test" else ()

    def source_counterfactual(self, split: str, row: int, *objects: str) -> Tensor:
        """Read the same scene without some objects, shape (3, H, W), from its file.

        Raises:
            ValueError: there is no file without just these objects.
        """
        if not objects:
            return self.source(split).image(row)
        for obj in objects:
            checks.choice("object", obj, self.source_objects(split, row))
        if not self.source_has_counterfactual(split, row, *objects):
            raise ValueError(
                f"objects must be left out as the files of test_interventions have it, got {', '.join(objects)}, "
                f"without which {self._test_names[row]} was not drawn."
            )
        return self._read(self._removals[row][frozenset(objects)])

    def source_has_counterfactual(self, split: str, row: int, *objects: str) -> bool:
        return split == "test" and frozenset(objects) in self._removals[row]

    def pictures_without(self, split: str, sample: int) -> dict[frozenset[str], Tensor]:
        """All pictures of a test image's scene, (3, H, W), by the objects, hidden ones too, that are left out."""
        row = int(self.order(split)[sample])
        drawn = {objects: self._read(path) for objects, path in self._removals[row].items()}
        return {frozenset(): self.source(split).image(row), **drawn}

    def background_objects(self, split: str, sample: int) -> int:
        """Number of objects in the background of an image's scene, seen or not."""
        return int(self.records["background_objects"].iloc[self.rows[split][int(self.order(split)[sample])]])

    def object_masks(self, split: str, sample: int) -> dict[str, Tensor]:
        """Pixels of each object of a test image, shape (N, H, W) bool of its N pieces, as its part map colours them.

        Raises:
            FileNotFoundError: there is no part map.
        """
        name = Path(self.records["name"].iloc[self.rows[split][int(self.order(split)[sample])]])
        path = self._root / f"{split}_part_map" / name.relative_to(split)
        if not path.is_file():
            raise FileNotFoundError(f"the protocol of FunnyBirds needs part maps, but {path} is missing.")
        levels = (_image_io.pixels(path, 3) * 255).round()
        colour = F.interpolate(levels.unsqueeze(0), self.shape[1:], mode="nearest-exact")[0].int()
        drawn = {tuple(one) for one in colour.flatten(1).T.tolist()}
        colours = {**_COLOURS, **{background_object(number): ((204, 204, 204 + number),) for number in range(50)}}
        return {
            name: torch.stack([(colour == torch.tensor(one).view(3, 1, 1)).all(0) for one in pieces])
            for name, pieces in colours.items()
            if drawn.intersection(pieces)
        }

    @cached_property
    def _removals(self) -> list[dict[frozenset[str], Path]]:
        """Files of each test picture, by the objects that are left out."""
        folder = self._root / "test_interventions"
        names = map(Path, self._test_names)
        return [dict(_removals(folder / name.parent.name / name.stem, self.bird_parts)) for name in names]

    @property
    def _test_names(self) -> list[str]:
        return self.records["name"].iloc[list(self.rows["test"])].tolist()

    @cached_property
    def _objects(self) -> list[dict[str, Box]]:
        """Visible objects of each test picture, and their boxes."""
        names = self._test_names

        def seen(row: int) -> dict[str, Box]:
            image = self._read(self._root / names[row])
            single = {next(iter(gone)): path for gone, path in self._removals[row].items() if len(gone) == 1}
            changed = {obj: (self._read(single[obj]) != image).any(0).numpy() for obj in sorted(single)}
            return {obj: geometry.bounding_box(mask) for obj, mask in changed.items() if mask.sum() >= MIN_CHANGED}

        with ThreadPoolExecutor() as pool:
            rows = pool.map(seen, range(len(names)))
            return list(DISPLAY.track(rows, "finding parts", "pictures", len(names)))

    def reader(self, rows: Sequence[int]) -> _image_io.FromFiles:
        read = partial(_image_io.image_from_file, shape=self.shape)
        return _image_io.FromFiles([str(self.unread[row]) for row in rows], read)

    def _read(self, path: Path) -> Tensor:
        return _image_io.image_from_file(path, self.shape)

    def _table(self, name: str, form: type[Any] = list) -> Any:
        path = self._root / name
        if not path.is_file():
            raise FileNotFoundError(
                f"root must be a folder as FunnyBirds is published, but {path} is missing. Set dataset.root."
            )
        try:
            table = json.loads(files.read_bytes(path, files.JSON))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} must be JSON, got {error}. Fetch it again.") from error
        if not isinstance(table, form) or not table:
            raise ValueError(f"{path} must be a JSON {form.__name__} with entries, got {type(table).__name__}.")
        return table

    def _models(self) -> dict[str, Mapping[str, Any]]:
        """Entry of each class, by its number as text, in the order of the numbers."""
        path = self._root / "classes.json"
        table = self._table(path.name)
        numbers = [_number(row, "class_idx", path) for row in table]
        if sorted(numbers) != list(range(len(numbers))):
            got = ", ".join(map(str, sorted(numbers)))
            raise ValueError(f"{path} must number its classes from 0 on, each once, got {got}.")
        return {str(number): row for number, row in sorted(zip(numbers, table, strict=True), key=lambda pair: pair[0])}

    def _pictures(self, split: str, classes: int) -> pd.DataFrame:
        """Read name, label, number (of all pictures) and background_objects of each picture of a table."""
        path = self._root / f"dataset_{split}.json"
        rows = []
        for number, scene in enumerate(self._table(path.name)):
            label = _number(scene, "class_idx", path)
            if label >= classes:
                raise ValueError(f"{path} must have classes below {classes}, got {label} for picture {number}.")
            objects = [name for name in str(scene.get("bg_objects", "")).split(",") if name]
            rows.append((f"{split}/{label}/{number:06d}.png", label, number, len(objects)))
        pictures = pd.DataFrame(rows, columns=["name", "label", "number", "background_objects"])
        missing = [name for name in pictures["name"] if not (self._root / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"each picture of {path} must be there, but {len(missing):,} of {len(pictures):,} are missing, such as "
                f"{self._root / missing[0]}."
            )
        return pictures.assign(number=pictures["number"] * 2 + (split == "test"))  # no picture is in two splits


def background_object(number: int) -> str:
    """Name of an object of the background."""
    return f"{_BACKGROUND}{number}"


def _removals(folder: Path, all_parts: frozenset[str]) -> Iterator[tuple[frozenset[str], Path]]:
    """Removed objects, and the file without them, of all files of a test picture."""
    for path in sorted(folder.glob("*.png")):
        kept = frozenset(path.stem.split("_")) - {BODY, ""}  # body_.png has none
        if not kept <= all_parts:
            raise ValueError(f"{path} must be named after the parts that are left, got {', '.join(kept - all_parts)}.")
        if kept != all_parts:
            yield all_parts - kept, path
    for path in sorted((folder / "background_interventions").glob("*.png")):
        if path.stem.isdecimal():
            yield frozenset({background_object(int(path.stem))}), path


def _number(row: Mapping[str, Any], key: str, path: Path) -> int:
    value = row.get(key) if isinstance(row, Mapping) else None
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"each entry of {path} must have a whole number {key}, got {value!r}.")
    return value
