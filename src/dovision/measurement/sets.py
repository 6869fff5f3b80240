"""Sets of units painted together, each in one do(): all that touch an object, and those of most and least evidence."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dovision.functional.rng import generator
from dovision.interfaces import Classifier, Context, Intervention
from dovision.interventions.brush import Brush
from dovision.interventions.fills import ImageFill, Inpaint, Painting
from dovision.interventions.object_cells import ObjectCells, joined, painter_of, single
from dovision.interventions.sliding_window import SlidingWindow
from dovision.measurement.condition import effect_rows, touched
from dovision.propagation import Outcome, Propagation
from dovision.results.image_tables import LEAST, MOST, RANDOM
from dovision.types import MATCHED_CONTROL, Batch, Box

_SIZES = (1, 2, 4, 6, 8, 10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 896)  # units of a ranked set
_DRAWS = 8  # of random ones


class _Alone(ImageFill):
    """Fill of several units at once: each has the content that it has when it is painted alone."""

    def __init__(self, painter: Painting, units: Sequence[int]) -> None:
        self.painter, self.units = painter, units

    def canvas(self, value: Tensor, context: Context) -> Tensor:
        shape, sample, canvas = tuple(value.shape[1:]), int(context.batch.sample[0]), value
        for unit in self.units:
            mask = torch.from_numpy(joined(self.painter, shape, sample, [unit])).to(value.device)
            canvas = torch.where(mask, self.painter.apply(value, unit, context), canvas) if mask.any() else canvas
        return canvas


class SetMeasurement:
    """Effects of sets of an intervention's units, as rows of sets.parquet.

    Args:
        network: that the intervention acts on.
        intervention: whose units are joined.
        objects: sets over the objects of images; None: there are none.
        ranked: samples of which sets of most and least evidence for the prediction are painted, and random ones.
        chunk: pairs a pass.
    """

    def __init__(
        self,
        network: Classifier,
        intervention: Intervention,
        objects: ObjectCells | None,
        ranked: Collection[int],
        chunk: int | str,
    ) -> None:
        self.network, self.objects, self.chunk = network, objects, chunk
        self.painter = painter_of(intervention)
        overlaps = isinstance(self.painter, SlidingWindow) and isinstance(self.painter.fill, Inpaint)
        self.ranked = set() if self.painter is None or overlaps else {*ranked}
        self.propagation = None if objects is None else Propagation(network, objects, chunk)

    def object_rows(self, condition: str, batch: Batch, classes: Tensor) -> pd.DataFrame:
        """Rows of sets over objects and of their controls, of some classes of each image, shape (B, K) bool."""
        shape, samples, objects = tuple(batch.image.shape[1:]), batch.sample.tolist(), self.objects
        if objects is None or self.propagation is None:
            return pd.DataFrame()
        units = range(len(objects.units(shape)))
        regions = [[objects.region(shape, unit, sample) for unit in units] for sample in samples]
        if (rows := self._rows(condition, batch, self.propagation(batch), regions, classes)).empty:
            return rows[[]]
        name = rows.pop("unit").str.partition(MATCHED_CONTROL)
        rows = rows.assign(set=name[0], draw=[int(draw) + 1 if draw else 0 for draw in name[2]])
        keys = [*zip(rows["sample"], rows["set"], strict=True)]
        cells, covered = (
            {key: measure(*key) for key in {*keys}}
            for measure in (lambda *key: len(objects.members(*key)), objects.covered)
        )
        rows = rows.assign(cells=[cells[key] for key in keys], covered=[covered[key] for key in keys])
        return rows.assign(covered=rows["covered"].where(rows["draw"] == 0))

    def ranked_rows(self, condition: str, batch: Batch, outcome: Outcome) -> Iterator[pd.DataFrame]:
        """Rows of ranked sets of images on the class that is predicted, from the effects of single units."""
        shape, task = tuple(batch.image.shape[1:]), self.network.task
        for row, sample in enumerate(batch.sample.tolist()):
            if sample not in self.ranked or self.painter is None:
                continue
            label, units = int(outcome.control[row].argmax()), single(self.painter, shape)
            effect = task.probability(outcome.treated[row]) - task.probability(outcome.control[row : row + 1])
            effect = effect[units, label]
            orders = {(MOST, 0): effect.argsort(stable=True), (LEAST, 0): effect.abs().argsort(stable=True)}
            for draw in range(_DRAWS):
                orders[RANDOM, draw + 1] = torch.randperm(len(units), generator=generator(0, sample, draw))
            sets: dict[str, Mapping[str, Any]] = {}
            masks: dict[str, Tensor] = {}
            for (name, draw), order in orders.items():
                for size in (size for size in _SIZES if size < len(units)):
                    mask = joined(self.painter, shape, sample, [units[number] for number in order[:size].tolist()])
                    if mask.any():
                        sets[f"{name} {size} {draw}"] = {"set": name, "cells": size, "draw": draw}
                        masks[f"{name} {size} {draw}"] = torch.from_numpy(mask)
            if not masks:
                continue
            image = batch.rows([row])
            is_inpainted = isinstance(self.painter.fill, Inpaint)  # from around a set's box, which is not its rim
            fill = _Alone(self.painter, units) if is_inpainted else self.painter.fill
            painted = Brush(masks, fill).for_images(image)
            joint = Propagation(self.network, painted, self.chunk)(image)
            regions: list[list[Box | None]] = [[None] * len(joint.units)]
            rows = self._rows(condition, image, joint, regions, torch.arange(len(task.classes)).unsqueeze(0) == label)
            yield pd.concat([rows, pd.DataFrame([sets[unit] for unit in rows["unit"]], rows.index)], axis=1)

    def _rows(self, condition: str, batch: Batch, outcome: Outcome, regions: Any, classes: Tensor) -> pd.DataFrame:
        """Rows of effects of units that touch something, of some classes of each image."""
        rows = effect_rows(condition, batch.sample, outcome, regions, self.network.task).to_pandas()
        mask = (touched(regions).unsqueeze(-1) & classes[:, None]).view(-1).numpy()
        return rows[mask].astype({"unit": str})
