"""Metrics of the conditions of a run, updated from the rows of its tables, so that they are the tables' numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor
from torchmetrics import CatMetric, MeanMetric, Metric

from dovision.functional.effects import above_resolution
from dovision.metrics import AttackSuccess, AverageEffect, DetectionAUROC, MeanAbsoluteExpectedEffect, RobustAccuracy
from dovision.results.effect_sums import QUANTUM, Cells
from dovision.results.tables import CLEAN

_Rows: TypeAlias = pa.Table | pa.RecordBatch
SIZE = "mean_abs_expected_effect"
SAMPLE_COLUMNS = ["condition", "correct", "success", "success_8bit", SIZE, "mean_expected_logit_effect"]
MOST_NAMED = 100  # average effects of a condition up to which each is named


class ConditionMetrics:
    """Numbers of summary.json by condition, without curves of classes, and average effects.

    Args:
        cells: names of the conditions, of which "clean" is the one without an attack, of the units, and of the classes.
    """

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        conditions, units, classes = cells
        self.average_effects = {name: AverageEffect(len(units), len(classes)) for name in conditions}
        self.metrics = {name: _metrics(attacked=name != CLEAN) for name in conditions}
        self.clean = CatMetric(nan_strategy="ignore")  # sizes of effects of all clean images
        self.clean.set_dtype(torch.float64)
        self.successful: dict[str, list[Tensor]] = {name: [] for name in conditions if name != CLEAN}  # of this device

    def to(self, device: torch.device) -> None:
        """Move the states to a device, from which those of several devices are gathered."""
        for condition, metrics in self.metrics.items():
            for metric in (self.average_effects[condition], *metrics.values()):
                metric.to(device)
        self.clean.to(device)

    def add_samples(self, samples: _Rows) -> None:
        """Add images by their rows of samples.parquet."""
        frame: pd.DataFrame = samples.select(SAMPLE_COLUMNS).to_pandas()
        for condition, rows in frame.groupby("condition", observed=True):
            values = {name: torch.tensor(rows[name].to_numpy(float)) for name in SAMPLE_COLUMNS[1:]}
            _update(self.metrics[condition], values)
            if condition == CLEAN:
                self.clean.update(above_resolution(values[SIZE]))
            else:
                self.successful[condition].append(above_resolution(values[SIZE][values["success"] == 1]))

    def add_sums(self, sums: _Rows) -> None:
        """Add images to average effects by rows of effect_sums.parquet."""
        cell, shape = self.cells.places(sums), self.cells.shape
        total, count = np.zeros((2, self.cells.number))
        np.add.at(total, cell, sums["total"].to_numpy() * QUANTUM)
        np.add.at(count, cell, sums["images"].to_numpy())
        of_units = total.reshape(shape), count.reshape(shape)[..., :1].astype(np.int64)
        for metric, totals, images in zip(self.average_effects.values(), *of_units, strict=True):
            metric.update(torch.zeros(0, *shape[1:]))  # a metric that was never updated warns
            metric.total += torch.from_numpy(totals).to(metric.total.device)
            metric.count += torch.from_numpy(images).to(metric.count.device)

    def compute(self) -> dict[str, Tensor]:
        """Numbers by metric/condition, and by average_effect/condition/unit/class if these are few."""
        numbers: dict[str, Tensor] = {}
        for condition, metrics in self.metrics.items():
            numbers |= {f"{name}/{condition}": metric.compute() for name, metric in metrics.items()}
            average = self.average_effects[condition].compute().view(-1)
            cells = itertools.product(self.cells.unit, self.cells.classes)
            names = [f"average_effect/{condition}/{unit}/{label}" for unit, label in cells]
            numbers |= dict(zip(names, average, strict=True)) if len(names) <= MOST_NAMED else {}
        return numbers | self._areas()

    def _areas(self) -> dict[str, Tensor]:
        """AUROC of effect sizes of successfully attacked against clean images."""
        if not len(self.clean.value):  # no image has a unit
            return {}
        clean, numbers = self.clean.compute().reshape(-1), {}  # torchmetrics makes a number of one image's
        for condition, scores in self.successful.items():
            metric = DetectionAUROC(clean).to(self.clean.device)
            for score in scores:
                metric.update(score)
            numbers[f"auroc/{condition}"] = metric.compute()
        return numbers


def _metrics(attacked: bool) -> dict[str, Metric]:
    effects = {"accuracy": _mean(), SIZE: MeanAbsoluteExpectedEffect(), "mean_expected_logit_effect": _mean()}
    attacks = {"success_rate": AttackSuccess(), "success_8bit": AttackSuccess(), "robust_accuracy": RobustAccuracy()}
    return effects | (attacks if attacked else {})


def _mean() -> MeanMetric:
    mean = MeanMetric(nan_strategy="ignore")
    mean.set_dtype(torch.float64)
    return mean


def _update(metrics: Mapping[str, Metric], values: Mapping[str, Tensor]) -> None:
    metrics["accuracy"].update(values["correct"])
    metrics[SIZE].update(values[SIZE].view(-1, 1, 1))
    metrics["mean_expected_logit_effect"].update(values["mean_expected_logit_effect"])
    if "success_rate" in metrics:
        right = values["success"].isfinite()  # when clean
        metrics["success_rate"].update(right, values["success"] == 0)
        metrics["success_8bit"].update(right, values["success_8bit"] == 0)
        labelled = values["correct"].isfinite()
        metrics["robust_accuracy"].update(right[labelled], values["success"][labelled] == 0)
