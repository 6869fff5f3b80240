"""Reader study: blinded pairs of pictures, and a table of answers that joins to a run's effects."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
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
from torch import Tensor

from dovision import checks
from dovision.evaluation.opened_network import OpenedNetwork
from dovision.functional.rng import generator
from dovision.identity.digests import Digests
from dovision.identity.plans import DATA
from dovision.interfaces import Context
from dovision.io.files import read_text
from dovision.io.locking import Lock
from dovision.io.text_files import read_yaml, write_text
from dovision.notebook.drawing import image_bytes
from dovision.report.image_overlay import EVIDENCE, resized
from dovision.store.map_tables import AS_IS, MAPS_FILE, read_grid, read_maps
from dovision.store.run_directory import RunDirectory
from dovision.store.run_files import digest_differences
from dovision.store.run_record import SAME
from dovision.store.schemas import DIGESTS
from dovision.types import Batch
from dovision.view.pictures import effects_link, link

IMAGE, MAP, DO = "image", "map:", "do:"  # what a side shows
LEFT, RIGHT = "left", "right"
_TIME, _DIGEST = "time", "study"  # when an answer was given, and the digest of the study
_COLUMNS = (
    *("run", "sample", "name", "answer", "chosen", LEFT, RIGHT, "reader", "item", "seconds", "window", "level"),
    *(_TIME, _DIGEST),
)
_Side = Annotated[str, StringConstraints(pattern=f"^({IMAGE}|({MAP}|{DO}).+)$")]


class _Pair(BaseModel):
    model_config = ConfigDict(extra="forbid")

    run: Path
    show: tuple[_Side, _Side]
    samples: Annotated[list[NonNegativeInt], Field(min_length=1)] | PositiveInt  # or so many, the first ones


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: str = "Which of the two?"
    answers: Annotated[list[str], Field(min_length=2, max_length=9)] = [LEFT, "neither", RIGHT]
    seed: NonNegativeInt = 0
    pairs: Annotated[list[_Pair], Field(min_length=1)]


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
        record = RunDirectory(folder).read_record()
        changes = digest_differences(folder, record)
        if network.images.identified(Digests(network.settings.output_root).many) != record.get(DATA):
            changes.append("the images are others")
        if changes:
            raise ValueError(
                f"{folder} must be a completed run with all as it has left it, but {'; '.join(changes)}. Run its "
                "command again, or put the files back."
            )
        self.identity = [*(record.get(name) for name in SAME), record[DIGESTS].get(MAPS_FILE.path)]

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

    def _image(self, batch: Batch, side: str) -> Tensor:
        """Film of a side without its map, shape (C, H, W)."""
        if not side.startswith(DO):
            return batch.image[0]
        unit = self.intervention.units(self.network.shape).index(side.removeprefix(DO))
        treated: Tensor = self.intervention.apply(batch.image, unit, Context(batch, self.network.classifier))[0]
        return treated

    def pictures(self, item: _Item) -> list[dict[str, str]]:
        """Two grey films as 16-bit numbers, row by row, or other images as links, and perhaps maps over them."""
        batch, shown = self.images.batch([item.sample]), []
        images = [self._image(batch, side) for side in item.sides]
        are_grey = all(torch.equal(pixels, pixels[:1].expand_as(pixels)) for pixels in images)
        for pixels, side in zip(images, item.sides, strict=True):
            if are_grey:  # both, so that both have the window and the level
                grey = (pixels[0].double() * 65535).round().numpy().astype("<u2")
                shown.append({"grey": base64.b64encode(grey.tobytes()).decode()})
            else:
                shown.append({"picture": link(image_bytes(pixels))})
            if side.startswith(MAP):
                values = resized(self.maps[item.sample, side.removeprefix(MAP)], pixels.shape[1:])
                shown[-1]["over"] = effects_link(values, float(np.abs(values).max()) or 1.0, EVIDENCE)
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
        ValueError: a key or value of the file is none that a study has, a run was changed since it ended, a picture is
            not in its run, or the answers are those of another study, or open in another process.
    """

    page = "study.html"

    def __init__(self, file: Path, reader: str | None, open_run: Callable[[Path], OpenedNetwork]) -> None:
        try:
            content = _File.model_validate(read_yaml(file))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{file}: {where}: {first['msg']}, got {str(first['input'])[:80]!r}.") from error
        if reader is None or not re.fullmatch(r"\w[\w.-]{0,40}", reader):
            raise ValueError(
                f"reader must be a short name of letters, digits, dots and dashes, got {reader!r}. Set reader=NAME."
            )
        if len(set(content.answers)) < len(content.answers):
            raise ValueError(f"{file}: answers must differ, got {', '.join(content.answers)}.")
        self.reader, self.question, self.answers = reader, content.question, content.answers
        self._runs: dict[Path, _Run] = {}
        items = []
        for pair in content.pairs:
            folder = pair.run.resolve()  # of a link, which may lead elsewhere later
            if folder not in self._runs:
                self._runs[folder] = _Run(folder, open_run(folder))
            for sample in range(pair.samples) if isinstance(pair.samples, int) else pair.samples:
                for side in pair.show:
                    self._runs[folder].check(sample, side)
                items.append(_Item(folder, sample, pair.show))
        if len({folder.name for folder in self._runs}) < len(self._runs):
            raise ValueError(f"{file}: runs must have different names, by which the table joins to their effects.")
        shown = [content.model_dump(mode="json"), [run.identity for run in self._runs.values()]]
        self.digest = hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:12]
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
        if any(row.get(_DIGEST) != self.digest or row.keys() != set(_COLUMNS) for row in self.rows):
            raise ValueError(
                f"{self.table} has answers of another study. Move it, or put back what {file} and its runs were."
            )

    def questions(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """Handlers by the request's name."""
        return {"pair": lambda question: self.pair(), "answer": self.answer}

    def pair(self) -> dict[str, Any]:
        """The next pair without an answer, blinded, and how many have one."""
        answered = {row["item"] for row in self.rows}
        left = [number for number in self.order if str(number) not in answered]
        shown: dict[str, Any] = {"done": len(answered), "pairs": len(self.items)}
        if left:
            item = self.items[left[0]]
            run = self._runs[item.run]
            _, height, width = run.network.shape
            shown |= {"item": left[0], "sides": run.pictures(item), "height": height, "width": width}
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
        row |= {"chosen": sides.get(answer, ""), "reader": self.reader, _DIGEST: self.digest}
        row[_TIME] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        rows = [*self.rows, {key: str(value) for key, value in row.items()}]
        held = io.StringIO()
        writer = csv.DictWriter(held, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.table, held.getvalue())
        self.rows = rows
        return self.pair()
