"""The callback that draws the maps of explainers under `trainer.test` and writes them, on one grid, as a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from dovision.functional import agreement
from dovision.functional.rng import generator
from dovision.interfaces import Classifier, Explainer, Explanation
from dovision.measurement.by_name import Named, named_components
from dovision.measurement.callback import Evaluation
from dovision.measurement.explanation_config import MapSettings
from dovision.results.explanation_metrics import localisation, object_regions
from dovision.results.image_tables import AS_IS, MAPS_FILE, PERTURBED, MapGrid, maps_schema, read_grid, read_maps
from dovision.results.resumable_writer import NO_RESUME, Resume
from dovision.results.tables import RunTable
from dovision.training.sanity_checks import cascade
from dovision.types import BOX_COLUMNS, Batch, Mask, Task


class _Pairs(NamedTuple):
    """Images with the class to explain; an image occurs once per class."""

    batch: Batch
    target: Tensor  # (P,) int64, on the CPU
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

    name = "maps"

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
        self.options = options = MapOptions() if options is None else options
        super().__init__(classifier, task, mean, std, network, folder, options.resume)
        self.explainers: dict[str, Explainer] = named_components("explainer", explainers)
        self.settings = MapSettings() if settings is None else settings
        sanity = self.settings.num_sanity_images
        self.sanity = frozenset(range(sanity) if options.samples is None else options.samples[:sanity])

    @property
    def seconds_per_map(self) -> dict[str, float]:
        """Mean seconds per map of images as they are, by explainer."""
        return self._per_map("seconds", "maps", 4)

    @property
    def passes_per_map(self) -> dict[str, float]:
        """Mean forward passes per map, also of changed images and other networks, by explainer."""
        return self._per_map("passes", "all maps", 1)

    def _per_map(self, cost: str, maps: str, digits: int) -> dict[str, float]:
        count = self.counters
        drawn = [name for name in self.explainers if count[f"{name} maps"]]
        return {name: round(count[f"{name} {cost}"] / count[f"{name} {maps}"], digits) for name in drawn}

    def start(self, batch: Batch) -> None:
        self.sanity_classifiers = cascade(self.classifier, self.settings.seed) if self.sanity else {}
        for classifier in self.sanity_classifiers.values():
            classifier.to(self.device)
        height, width = batch.image.shape[2:]
        margin = float(f"{self.settings.margin * max(height, width):g}")  # as the table has it
        grid = MapGrid(self.settings.cells, self.settings.cells, height, width, margin)
        more = {} if self.settings.single_deletion is None else self.settings.single_deletion.columns
        self.schema = maps_schema(grid, self.settings.compared(self.explainers), more)

    def tables(self) -> dict[RunTable, pa.Schema]:
        return {MAPS_FILE: self.schema}

    def rows(self, batch: Batch, logits: Tensor, dataloader_idx: int) -> dict[RunTable, pa.RecordBatch]:
        images, pairs = len(batch.image), self._pairs(batch, logits)
        sanity = self.sanity_classifiers if self.sanity.intersection(batch.sample.tolist()) else ()
        self._losses = {}
        if (truth := self.settings.single_deletion) is not None and len(pairs.target):
            self._losses = truth.losses(pairs.batch, pairs.target.to(batch.image.device), self.classifier)
        self._drawing = images / len(self.explainers) / (1 + bool(self.settings.noise) + len(sanity))
        rows = [row for name in self.explainers for row in self._rows(name, pairs)] if len(pairs.target) else []
        rows.sort(key=lambda row: (row["sample"], row["class"]))
        if not rows:
            self.progress.advance(images)
        return {MAPS_FILE: pa.RecordBatch.from_pylist(rows, schema=self.schema)}

    def numbers(self) -> dict[str, float]:
        boxes, masks_of = self.options.boxes, self.options.masks
        if boxes is None and masks_of is None:
            return {}
        maps = read_maps(self.folder)
        maps = maps[(maps["variant"] == AS_IS) & (maps["state"] == agreement.OK)]
        masks = {} if masks_of is None else {sample: masks_of(sample) for sample in maps["sample"].unique().tolist()}
        regions = object_regions(pd.DataFrame(columns=BOX_COLUMNS) if boxes is None else boxes, masks)
        scores = localisation(maps, regions, read_grid(self.folder))[["pointing", "energy"]].astype(float)
        means = scores.groupby(maps["explainer"]).mean()
        return {f"{test}/{name}": mean for test in means for name, mean in means[test].items()}

    def _pairs(self, batch: Batch, logits: Tensor) -> _Pairs:
        task = self.classifier.task
        probability = task.probability(logits)
        image, target = self.settings.pairs(self.aimed(batch, logits), probability, task)
        predicted, label = task.prediction(probability)[image], batch.label[image]
        labelled = label.isfinite() if task.multilabel else label >= 0
        correct = (predicted == label).float().masked_fill(~labelled, torch.nan)
        if task.multilabel:
            correct = correct.gather(1, target.unsqueeze(1))[:, 0]
        return _Pairs(batch.rows(image), target, correct)

    def _rows(self, name: str, pairs: _Pairs) -> Iterator[dict[str, Any]]:
        """Rows of one explainer: unmodified maps, then their variants."""
        started = time.perf_counter()
        explanation = self._explained(name, pairs, self.classifier)
        self.counters[f"{name} seconds"] += time.perf_counter() - started  # type: ignore[assignment]  # no whole number
        self.see(name, pairs.batch, pairs.target, explanation.map)
        maps, spread = self._cells(explanation)
        self.counters[f"{name} maps"] += len(maps)
        deletion, insertion = self._areas(pairs, maps.numpy())
        metrics: dict[str, Sequence[Any]] = {"deletion": deletion, "insertion": insertion, "spread": spread}
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
        explainer = self.explainers[name]
        before, drawn = explainer.counts
        explanation = explainer.explain(pairs.batch, pairs.target.to(pairs.batch.image.device), classifier)
        passes, maps = explainer.counts
        self.counters.update({f"{name} passes": passes - before, f"{name} all maps": maps - drawn})
        self.progress.advance(self._drawing)
        return explanation

    def _cells(self, explanation: Explanation) -> tuple[Tensor, list[npt.NDArray[np.float32] | None]]:
        """Maps on the common grid, shape (B, rows, columns), and the spread of each, if any."""
        side = self.settings.cells
        maps, spread = torch.stack([agreement.to_cells(pixels, side, side) for pixels in explanation]).cpu()
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
    def _areas(self, pairs: _Pairs, maps: npt.NDArray[np.float32]) -> list[list[float | None]]:
        """Deletion and insertion: areas under P(class) while cells are removed or restored, most relevant first."""
        curves: dict[int, Tensor] = {}
        for row, cells in enumerate(maps):
            if agreement.state(cells) == agreement.OK:
                one = pairs.batch.rows(slice(row, row + 1))
                image, filled = one.image[0], self.settings.filled(one, self.classifier)[0]
                painted = agreement.painted(image, filled, agreement.removal(cells, self.settings.steps))
                curves[row] = self.classifier.task.probability(self.classifier(painted))[:, pairs.target[row]]
        areas: list[list[float | None]] = [[None] * len(maps), [None] * len(maps)]
        if curves:
            copied = torch.stack([*curves.values()]).double().cpu().numpy().reshape(len(curves), 2, -1)
            for row, of_image in zip(curves, copied, strict=True):
                areas[0][row], areas[1][row] = map(agreement.area, of_image)
        return areas

    def _perturbed(self, batch: Batch) -> Batch:
        """Images with small uniform noise, fixed by sample."""
        draws = [
            torch.rand(image.shape, generator=generator(self.settings.seed, sample))
            for image, sample in zip(batch.image, batch.sample.tolist(), strict=True)
        ]
        noise = (2 * torch.stack(draws) - 1) * self.settings.noise
        return batch._replace(image=(batch.image + noise.to(batch.image)).clamp(0, 1))
