"""The callback that draws the maps of explainers under `trainer.test` and writes them, on one grid, as a table."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytorch_lightning as pl
import torch
from torch import Tensor

from dovision.functional import agreement
from dovision.functional.rng import generator
from dovision.interfaces import Classifier, Explainer, Explanation
from dovision.measurement.by_name import Named, named_components
from dovision.measurement.callback import Evaluation
from dovision.measurement.explanation_config import TOKEN_DROP, MapSettings
from dovision.measurement.token_removal import TokenRemoval
from dovision.metrics import EnergyInBox, PointingGame
from dovision.results.map_tables import AS_IS, MAPS_FILE, PERTURBED, MapGrid, maps_schema
from dovision.results.resumable_writer import NO_RESUME, ResumableWriter, Resume
from dovision.results.tables import boxes_of
from dovision.training.sanity_checks import cascade
from dovision.types import Batch, Box, Mask, Task


class _Pairs(NamedTuple):
    """Images with the class to explain; an image occurs once per class."""

    batch: Batch
    target: Tensor  # (P,) int64
    correct: Tensor  # (P,) float, 1 where the classifier is right on this class, nan where the label is not known


@dataclass(frozen=True)
class MapOptions:
    """Options of `MapEvaluation` besides the explainers and how their maps are drawn.

    Args:
        samples: those that are evaluated, in order; the first ones get the sanity tests. None: all.
        boxes: of known objects, as `Images.boxes` has them; None where none is known.
        masks: of the known objects of a sample, by name; one that has the name of a class is judged in place of its
            boxes. None where none is known.
        resume: finished maps of earlier starts.

    Example:
        >>> import dovision as dv
        >>> dv.MapOptions(samples=[0, 2]).samples
        [0, 2]
    """

    samples: Sequence[int] | None = None
    boxes: pd.DataFrame | None = None
    masks: Callable[[int], Mapping[str, Mask]] | None = None
    resume: Resume = NO_RESUME


class MapEvaluation(Evaluation):
    """Callback that draws each explainer's maps of test images, and computes metrics that need the classifier.

    Of the maps of images with known boxes, the shares that point into a box and that lie in the boxes are logged as
    pointing/EXPLAINER and energy/EXPLAINER, as in summary.json.

    Args:
        explainers: by name, or names of those in `conf/explainer`.
        folder: where maps.parquet goes; None: the trainer's `log_dir`.
        settings: the common grid, which classes, and the tests; None is those of the configuration.
        classifier, task, mean, std, network: of the classifier that is explained, as of `Evaluation`.
        options: the images, and the known objects in them.

    Example:
        >>> import tempfile
        >>> import dovision as dv
        >>> classifier, digits = dv.example()
        >>> maps = dv.MapEvaluation({"center": dv.CenterMap()}, tempfile.mkdtemp(), dv.MapSettings(cells=8), classifier)
        >>> list(maps.explainers)
        ['center']
    """

    def __init__(
        self,
        explainers: Named[Explainer] = "effect_map",
        folder: Path | str | None = None,
        settings: MapSettings | None = None,
        classifier: Classifier | None = None,
        *,
        task: str | Task = "multiclass",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        network: str | None = None,
        options: MapOptions | None = None,
    ) -> None:
        super().__init__(classifier, task, mean, std, network, folder)
        self.explainers: dict[str, Explainer] = named_components("explainer", explainers)
        self.settings = MapSettings() if settings is None else settings
        self.options = options = MapOptions() if options is None else options
        sanity = self.settings.num_sanity_images
        self.sanity = frozenset(range(sanity) if options.samples is None else options.samples[:sanity])
        self.token_removal = TokenRemoval()
        self._masks_of: dict[int, Mapping[str, Mask]] = {}  # of the samples of a batch
        self.boxes: defaultdict[tuple[int, str], list[Box]] = defaultdict(list)
        if (boxes := options.boxes) is not None:
            for sample, label, box in zip(boxes["sample"], boxes["label"], boxes_of(boxes), strict=True):
                self.boxes[sample, label].append(box)

    @property
    def seconds_per_map(self) -> dict[str, float]:
        """Mean seconds per map, by explainer."""
        return {name: round(n["seconds"] / n["maps"], 4) for name, n in self.counted.items() if n["maps"]}

    @property
    def passes_per_map(self) -> dict[str, float]:
        """Mean forward passes per map, by explainer."""
        return {name: round(n["passes"] / n["all_maps"], 1) for name, n in self.counted.items() if n["maps"]}

    @property
    def counted(self) -> dict[str, dict[str, float]]:
        """Counters by explainer, in plain types.

        Its `maps` of images as they are, and the `seconds` that they took; the `passes` of `all_maps`, also of changed
        images and other networks.
        """
        counted = {}
        for name, explainer in self.explainers.items():
            passes, all_maps = explainer.counts
            counts = {"maps": self.drawn[name], "seconds": self.seconds[name], "passes": passes, "all_maps": all_maps}
            counted[name] = {count: value + self._before.get(name, {}).get(count, 0) for count, value in counts.items()}
        return counted

    def start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch) -> None:
        self.sanity_classifiers = cascade(self.classifier, self.settings.seed) if self.sanity else {}
        for classifier in self.sanity_classifiers.values():
            classifier.to(pl_module.device)
        height, width = batch.image.shape[2:]
        margin = float(f"{self.settings.margin * max(height, width):g}")  # as the table has it
        grid = MapGrid(self.settings.cells, self.settings.cells, height, width, margin)
        more = {} if self.settings.single_deletion is None else self.settings.single_deletion.columns
        self.schema = maps_schema(*grid, self.settings.compared(self.explainers), more)
        self.metrics: dict[str, dict[str, PointingGame | EnergyInBox]] = {
            "pointing": {name: PointingGame(height, width, margin) for name in self.explainers},
            "energy": {name: EnergyInBox(height, width) for name in self.explainers},
        }
        if trainer.world_size > 1:
            for metric in (metric for metrics in self.metrics.values() for metric in metrics.values()):
                metric.to(pl_module.device)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.drawn: defaultdict[str, int] = defaultdict(int)
        schemas, device = {MAPS_FILE: self.schema}, (trainer.global_rank, trainer.world_size)
        self.writer = self.opened(ResumableWriter(self.folder, "maps", schemas, self.options.resume, device))
        self.resumed = self.writer.done
        self._before = self.writer.state
        for rows in self.writer.finished(MAPS_FILE):
            self._judge_finished(rows)
        self.progress = self.stage("maps", "images", self.images, done=self.resumed)

    def _judge_finished(self, rows: pa.Table) -> None:
        """Score maps of an earlier start against boxes and masks."""
        judged = rows.filter(pc.equal(rows["variant"], AS_IS)).select(["explainer", "sample", "class", "cells"])
        frame = judged.to_pandas()
        self._read_masks(frame["sample"])
        for name, rows in frame.groupby("explainer", observed=True):
            cells = torch.from_numpy(np.stack(rows["cells"].tolist()))
            keys = list(zip(rows["sample"], rows["class"], strict=True))
            self._judge(name, cells.view(-1, self.settings.cells, self.settings.cells), keys)

    def _read_masks(self, samples: Iterable[int]) -> None:
        masks = self.options.masks
        self._masks_of = {} if masks is None else {sample: masks(sample) for sample in set(samples)}

    def _judge(self, name: str, maps: Tensor, keys: Sequence[tuple[int, str]]) -> None:
        """Score an explainer's maps, shape (B, rows, columns), against boxes and masks."""
        boxes = [self.boxes.get(key, []) for key in keys]
        masks = [self._masks_of.get(sample, {}).get(label) for sample, label in keys]
        for metrics in self.metrics.values():
            metrics[name].update(maps, boxes, masks)

    def measure(self, batch: Batch, logits: Tensor, dataloader_idx: int) -> None:
        images, pairs = len(batch.image), self._pairs(batch, logits)
        samples = batch.sample.tolist()
        self._read_masks(samples)
        sanity = self.sanity_classifiers if self.sanity.intersection(samples) else ()
        truth = self.settings.single_deletion
        measured = truth is not None and len(pairs.target)
        self._losses = truth.losses(pairs.batch, pairs.target, self.classifier) if measured else {}  # type: ignore[union-attr]
        self._drawing = images / len(self.explainers) / (1 + bool(self.settings.noise) + len(sanity))
        rows = [row for name in self.explainers for row in self._rows(name, pairs)] if len(pairs.target) else []
        rows.sort(key=lambda row: (row["sample"], row["class"]))
        if not rows:
            self.progress.advance(images)
        self.writer.add(images, {MAPS_FILE: pa.RecordBatch.from_pylist(rows, schema=self.schema)}, self.counted)

    def numbers(self) -> dict[str, Tensor]:
        named = self.metrics.items()
        return {f"{test}/{name}": metric.compute() for test, metrics in named for name, metric in metrics.items()}

    def finish(self) -> None:
        self.writer.join()

    def _pairs(self, batch: Batch, logits: Tensor) -> _Pairs:
        task = self.classifier.task
        probability = task.probability(logits)
        image, target = self.settings.pairs(self.aimed(batch, logits), probability, task)
        predicted, label = task.prediction(probability).cpu()[image], batch.label.cpu()[image]
        labelled = label.isfinite() if task.multilabel else label >= 0
        correct = (predicted == label).float().masked_fill(~labelled, torch.nan)
        if task.multilabel:
            correct = correct.gather(1, target.unsqueeze(1))[:, 0]
        return _Pairs(batch.rows(image), target.to(batch.image.device), correct)

    def _rows(self, name: str, pairs: _Pairs) -> Iterator[dict[str, Any]]:
        """Rows of one explainer: unmodified maps, then their variants."""
        started = time.perf_counter()
        explanation = self._explained(name, pairs, self.classifier)
        self.seconds[name] += time.perf_counter() - started
        self.see(name, pairs.batch, pairs.target, explanation.map)
        maps, spread = self._cells(explanation)
        self.drawn[name] += len(maps)
        self._judge(name, maps, list(self._keys(pairs)))
        deletion, insertion = zip(*(self._areas(pairs, row, cells) for row, cells in enumerate(maps)), strict=True)
        metrics = {"deletion": deletion, "insertion": insertion, "spread": spread}
        if self.settings.single_deletion is not None:
            metrics |= self.settings.single_deletion.scores(explanation.map, self._losses)
        yield from self._described(name, AS_IS, pairs, maps, metrics)
        if self.settings.noise:
            perturbed = pairs._replace(batch=self._perturbed(pairs.batch))
            yield from self._described(
                name, PERTURBED, pairs, self._cells(self._explained(name, perturbed, self.classifier))[0]
            )
        chosen = [row for row, sample in enumerate(pairs.batch.sample.tolist()) if sample in self.sanity]
        if chosen:
            few = _Pairs(pairs.batch.rows(chosen), pairs.target[chosen], pairs.correct[chosen])
            for variant, classifier in self.sanity_classifiers.items():
                yield from self._described(name, variant, few, self._cells(self._explained(name, few, classifier))[0])

    def _keys(self, pairs: _Pairs) -> Iterator[tuple[int, str]]:
        """Sample and class of each map."""
        for sample, target in zip(pairs.batch.sample.tolist(), pairs.target.tolist(), strict=True):
            yield sample, self.classifier.task.classes[target]

    def see(self, name: str, batch: Batch, target: Tensor, maps: Tensor) -> None:
        """Receive maps at image size, shape (B, H, W), of class target[b] of image b; nothing by default."""

    def _explained(self, name: str, pairs: _Pairs, classifier: Classifier) -> Explanation:
        explanation = self.explainers[name].explain(pairs.batch, pairs.target, classifier)
        self.progress.advance(self._drawing)
        return explanation

    def _cells(self, explanation: Explanation) -> tuple[Tensor, list[npt.NDArray[np.float32] | None]]:
        """Maps on the common grid, shape (B, rows, columns), and the spread of each, if any."""
        side = self.settings.cells
        maps, spread = (agreement.to_cells(pixels, side, side).cpu() for pixels in explanation)
        return maps, [None if cells.isnan().all() else cells.flatten().numpy() for cells in spread]

    def _described(
        self,
        name: str,
        variant: str,
        pairs: _Pairs,
        maps: Tensor,
        metrics: Mapping[str, Sequence[Any]] = MappingProxyType({}),
    ) -> Iterator[dict[str, Any]]:
        for row, (cells, (sample, label)) in enumerate(zip(maps.numpy(), self._keys(pairs), strict=True)):
            yield {
                "sample": sample,
                "group": int(pairs.batch.group[row]),
                "explainer": name,
                "class": label,
                "variant": variant,
                "correct": None if pairs.correct[row].isnan() else bool(pairs.correct[row]),
                "state": agreement.state(cells),
                "cells": cells.reshape(-1),
                **{column: values[row] for column, values in metrics.items()},
            }

    @torch.no_grad()
    def _areas(self, pairs: _Pairs, row: int, cells: Tensor) -> tuple[float | None, float | None]:
        """Deletion and insertion: areas under P(class) while cells are removed or restored, most relevant first."""
        if agreement.state(cells.numpy()) != agreement.OK:
            return None, None
        one = pairs.batch.rows(slice(row, row + 1))
        removed = agreement.removal(cells.numpy(), self.settings.steps)
        probability = self.classifier.task.probability(self._curves(one, removed))[:, pairs.target[row]]
        deletion, insertion = probability.double().cpu().numpy().reshape(2, -1)
        return agreement.area(deletion), agreement.area(insertion)

    def _curves(self, one: Batch, removed: Mask) -> Tensor:
        """Logits of an image without the removed cells at each of S steps, then of these alone, (2 S, K)."""
        if self.settings.removal == TOKEN_DROP:
            return self.token_removal.curves(self.classifier, one, removed)
        image, filled = one.image[0], self.settings.filled(one, self.classifier)[0]
        shown = (agreement.painted(image, filled, removed), agreement.painted(filled, image, removed))
        return self.classifier(torch.cat(shown))

    def _perturbed(self, batch: Batch) -> Batch:
        """Images with small uniform noise, fixed by sample."""
        draws = [
            torch.rand(image.shape, generator=generator(self.settings.seed, sample))
            for image, sample in zip(batch.image, batch.sample.tolist(), strict=True)
        ]
        noise = (2 * torch.stack(draws) - 1) * self.settings.noise
        return batch._replace(image=(batch.image + noise.to(batch.image)).clamp(0, 1))
