"""Metrics of torchmetrics over the validation images of an epoch, made for the task of a classifier."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from dovision.training.label_auroc import LabelAUROC
from dovision.types import Task

UNKNOWN = -1  # stands for nan in labels that torchmetrics gets, which takes whole numbers
TRIED = 8  # images on which a metric is tried out
MakeMetric = Callable[..., Metric]


class ValidationMetrics(nn.Module):
    """Metrics by name, updated with common probabilities and labels.

    Each is made with those of the arguments `task`, `num_classes`, `num_labels` and `ignore_index` that it takes. One
    that knows no multilabel task is made for a binary one: each label of each image counts as one.

    Raises:
        ValueError: a metric cannot be made or computed, or its value is neither one number nor one for each class; the
            error begins with its name.
    """

    def __init__(self, task: Task, metrics: Mapping[str, MakeMetric]) -> None:
        super().__init__()
        self.task = task
        made: dict[str, Any] = {name: _made(name, make, task) for name, make in metrics.items()}
        self.metrics = MetricCollection(made, compute_groups=False)  # whose members differ in the labels that they take
        for name, metric in self.metrics.items():
            self._try(name, copy.deepcopy(metric))

    @property
    def names(self) -> list[str]:
        """Names of the values that `compute` may return."""
        return [name for key, metric in self.metrics.items() for name in self._names(key, metric)]

    def update(self, probability: Tensor, label: Tensor) -> None:
        """Add images with P(y | x), shape (B, K), and labels, (B,) or (B, K), nan if unknown."""
        for metric in self.metrics.values():
            self._update(metric, probability, label)

    def compute(self) -> dict[str, Tensor]:
        """Finite values by name, or by name/class for metrics that do not average over classes."""
        values: dict[str, Tensor] = {}
        for name, metric in self.metrics.items():
            value = metric.compute()
            values |= dict(zip(self._names(name, metric), value.reshape(-1), strict=True))
        return {name: value for name, value in values.items() if value.isfinite()}

    def reset(self) -> None:
        self.metrics.reset()

    def _update(self, metric: Metric, probability: Tensor, label: Tensor) -> None:
        keeps_nan = isinstance(metric, LabelAUROC) or not self.task.multilabel
        metric.update(probability, label if keeps_nan else label.nan_to_num(UNKNOWN).long())

    @torch.no_grad()
    def _try(self, name: str, metric: Metric) -> None:
        """Raise for a metric whose value is not one number per name."""
        classes = torch.eye(len(self.task.classes))[:TRIED]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of classes that it has not seen
                self._update(metric, classes, classes if self.task.multilabel else classes.argmax(1))
                value = metric.compute()
        except (RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"metrics.{name} cannot be computed of probabilities and labels: {reason}") from error
        if not isinstance(value, Tensor) or value.numel() != len(self._names(name, metric)):
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"metrics.{name} must have one number as its value, or one for each class (average: none), got {got}. "
                "Leave it out."
            )

    def _names(self, name: str, metric: Metric) -> list[str]:
        """Names of a metric's values: one per class unless it averages."""
        is_by_class = getattr(metric, "average", "macro") in (None, "none")
        return [f"{name}/{class_name}" for class_name in self.task.classes] if is_by_class else [name]


def _made(name: str, make: MakeMetric, task: Task) -> Metric:
    count = len(task.classes)
    arguments = {"num_classes": count, "num_labels": count, **({"ignore_index": UNKNOWN} if task.multilabel else {})}
    for task_kind in (task.kind, "binary") if task.multilabel else (task.kind,):
        given = {key: value for key, value in {"task": task_kind, **arguments}.items() if key in _parameters(make)}
        try:
            return make(**given)
        except (TypeError, ValueError) as error:
            refused = error
    raise ValueError(f"metrics.{name} cannot be made for a {task.kind} task: {refused}") from refused


def _parameters(make: MakeMetric) -> set[str]:
    """Arguments that a metric takes and a partial does not set."""
    return set(inspect.signature(make).parameters) - set(getattr(make, "keywords", {}))
