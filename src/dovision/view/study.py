"""Reader study: blinded pairs of pictures, and a table of answers that joins to a run's effects."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, StringConstraints, ValidationError

from dovision import checks
from dovision.functional.rng import generator
from dovision.interfaces import Context
from dovision.io.files import read_text
from dovision.io.locking import Lock
from dovision.io.text_files import read_yaml, write_text
from dovision.notebook.drawing import image_bytes
from dovision.report.image_overlay import EVIDENCE, resized
from dovision.store.map_tables import AS_IS, read_grid, read_maps
from dovision.store.spreadsheet import as_text
from dovision.view.opened_network import OpenedNetwork
from dovision.view.pictures import effects_link, link

IMAGE, MAP, DO = "image", "map:", "do:"  # what a side shows
LEFT, RIGHT = "left", "right"
_COLUMNS = ("run", "sample", "name", "answer", "chosen", LEFT, RIGHT, "reader", "item", "seconds", "window", "level")
_TIME, _STUDY = "time", "study"  # the last columns: when an answer was given, and the digest of the study
_Side = Annotated[str, StringConstraints(pattern=f"^({IMAGE}|({MAP}|{DO}).+)$")]


class _Pair(BaseModel):
    model_config = ConfigDict(extra="forbid")

    run: Path
    show: tuple[_Side, _Side]
    samples: list[NonNegativeInt] | PositiveInt  # or so many, the first ones


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: str = "Which of the two?"
    answers: Annotated[list[str], Field(min_length=2, max_length=9)] = [LEFT, "neither", RIGHT]
    seed: NonNegativeInt = 0
    pairs: list[_Pair]


class _Item(NamedTuple):
    run: Path
    sample: int
    sides: tuple[str, str]  # left and right


class _Run:
    """Pictures of a run's images, with maps, and with units set."""

    def __init__(self, folder: Path, network: OpenedNetwork) -> None:
        self.folder = folder
        self.network = network
        self.images = network.images.split(network.split)

    @cached_property
    def intervention(self) -> Any:
        intervention = self.network.settings.intervention.make()  # type: ignore[attr-defined]  # of an evaluation
        intervention.bind(self.network.images, self.network.split)
        return intervention

    @cached_property
    def maps(self) -> dict[tuple[int, str], npt.NDArray[np.float64]]:
        """Maps of the first class of each image, shape (rows, columns), by sample and explainer."""
        grid, table = read_grid(self.folder), read_maps(self.folder)
        table = table[table["variant"] == AS_IS].drop_duplicates(["sample", "explainer"])
        rows = table[["sample", "explainer", "cells"]].itertuples(index=False)
        return {(sample, name): np.reshape(cells, (grid.rows, grid.columns)) for sample, name, cells in rows}

    def check(self, sample: int, side: str) -> None:
        """Raise a ValueError if there is no such picture."""
        checks.bounded("samples", sample, 0, len(self.images) - 1)
        name = side.partition(":")[2]
        if side.startswith(MAP) and (sample, name) not in self.maps:
            explainers = checks.listed(sorted({of for _, of in self.maps}))
            raise ValueError(f"{self.folder} has no map {name!r} of sample {sample}, only of {explainers}.")
        if side.startswith(DO):
            units = self.intervention.units(self.network.shape)
            box = self.intervention.on_image(self.network.shape, units.index(checks.choice(DO, name, units)), sample)
            if box is None or not box.area:
                raise ValueError(f"{self.folder}: {name!r} is nowhere on sample {sample}. Leave that sample out.")

    def picture(self, sample: int, side: str) -> dict[str, str]:
        """A grey film as 16-bit numbers, row by row, or another image as a link, and perhaps a map over it."""
        batch, name = self.images.batch([sample]), side.partition(":")[2]
        image = batch.image
        if side.startswith(DO):
            unit = self.intervention.units(self.network.shape).index(name)
            image = self.intervention.apply(image, unit, Context(batch, self.network.classifier))
        pixels = image[0]
        if torch.equal(pixels, pixels[:1].expand_as(pixels)):
            grey = (pixels[0].double() * 65535).round().numpy().astype("<u2")
            shown = {"grey": base64.b64encode(grey.tobytes()).decode()}
        else:
            shown = {"picture": link(image_bytes(pixels))}
        if side.startswith(MAP):
            values = resized(self.maps[sample, name], pixels.shape[1:])
            shown["over"] = effects_link(values, float(np.abs(values).max()) or 1.0, EVIDENCE)
        return shown


class Study:
    """Pairs of a study's file, in an order and on sides that its seed and the reader's name draw.

    An answer is on the disk before the page shows the next pair. The same file and reader resume.

    Args:
        file: a yaml file of question, answers, seed and pairs.
        reader: names the table of answers beside it, and draws the order.
        open_run: opens a run directory.

    Raises:
        FileNotFoundError: a file or run is not there.
        ValueError: a key or value of the file is none that a study has, a picture is not in its run, or the answers
            are those of another study, or open in another process.
    """

    page = "study.html"

    def __init__(self, file: Path, reader: str, open_run: Callable[[Path], OpenedNetwork]) -> None:
        try:
            content = _File.model_validate(read_yaml(file))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{file}: {where}: {first['msg']}, got {str(first['input'])[:80]!r}.") from error
        if not re.fullmatch(r"\w[\w.-]{0,40}", reader):
            raise ValueError(f"reader must be a short name of letters, digits, dots and dashes, got {reader!r}.")
        self.reader, self.question, self.answers = reader, content.question, content.answers
        self.digest = hashlib.sha256(content.model_dump_json().encode()).hexdigest()[:12]
        self._runs: dict[Path, _Run] = {}
        items = []
        for pair in content.pairs:
            for sample in range(pair.samples) if isinstance(pair.samples, int) else pair.samples:
                if pair.run not in self._runs:
                    self._runs[pair.run] = _Run(pair.run, open_run(pair.run))
                for side in pair.show:
                    self._runs[pair.run].check(sample, side)
                items.append(_Item(pair.run, sample, pair.show))
        key = int.from_bytes(hashlib.sha256(reader.encode()).digest()[:4], "big")
        drawn = generator(content.seed, key)
        flips = torch.randint(2, (len(items),), generator=drawn).tolist()
        self.items = [
            item._replace(sides=(item.sides[flip], item.sides[1 - flip]))
            for item, flip in zip(items, flips, strict=True)
        ]
        self.order = torch.randperm(len(items), generator=drawn).tolist()
        self.table = file.with_name(f"{file.stem}-{reader}.csv")
        self._lock = Lock(self.table.with_name(f".{self.table.name}.lock"))
        if not self._lock.acquire(0):
            raise ValueError(f"{self.table} is open in another dovision-view. Close that one, or set reader=...")
        self.rows = list(csv.DictReader(io.StringIO(read_text(self.table)))) if self.table.exists() else []
        if any(row.get(_STUDY) != self.digest for row in self.rows):
            raise ValueError(f"{self.table} has answers of another study. Move it, or put back what {file} was.")

    def questions(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """Handlers by the request's name."""
        return {"pair": lambda question: self.pair(), "answer": self.answer}

    def pair(self) -> dict[str, Any]:
        """The next pair without an answer, blinded, and how many have one."""
        answered = {int(row["item"]) for row in self.rows}
        left = [item for item in self.order if item not in answered]
        shown: dict[str, Any] = {"done": len(answered), "pairs": len(self.items)}
        if left:
            item, shape = self.items[left[0]], self._runs[self.items[left[0]].run].network.shape
            sides = [self._runs[item.run].picture(item.sample, side) for side in item.sides]
            shown |= {"item": left[0], "sides": sides, "height": shape[1], "width": shape[2]}
        return {**shown, "question": self.question, "answers": self.answers}

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Write an answer to the disk, and return the next pair; one that was given already changes nothing.

        Raises:
            OSError: it cannot be written, and can be given again.
            ValueError: there is no such pair or answer.
        """
        number = checks.bounded("item", question["item"], 0, len(self.items) - 1)
        answer = self.answers[checks.bounded("answer", question["answer"], 0, len(self.answers) - 1)]
        if str(number) in {row["item"] for row in self.rows}:
            return self.pair()
        item = self.items[number]
        network = self._runs[item.run].network
        name = network.images.table(network.split)["name"].iloc[item.sample]
        sides = dict(zip((LEFT, RIGHT), item.sides, strict=True))
        row = {"run": item.run.name, "sample": item.sample, "name": name, "answer": answer, **sides, "item": number}
        row |= {key: question[key] for key in ("seconds", "window", "level")}
        row |= {"chosen": sides.get(answer, ""), "reader": self.reader, _STUDY: self.digest}
        row[_TIME] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        rows = [*self.rows, {key: str(as_text(value)) for key, value in row.items()}]
        held = io.StringIO()
        writer = csv.DictWriter(held, [*_COLUMNS, _TIME, _STUDY], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.table, held.getvalue())
        self.rows = rows
        return self.pair()
