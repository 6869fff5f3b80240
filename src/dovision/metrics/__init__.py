"""Metrics for torchmetrics: causal effects, attacks, localisation and detection, right on any number of devices."""

from dovision.metrics.attacks import AttackSuccess, RobustAccuracy
from dovision.metrics.detection import DetectionAUROC
from dovision.metrics.effects import AverageEffect, MeanAbsoluteExpectedEffect
from dovision.metrics.localization import EnergyInBox, PointingGame

__all__ = [
    "AttackSuccess",
    "AverageEffect",
    "DetectionAUROC",
    "EnergyInBox",
    "MeanAbsoluteExpectedEffect",
    "PointingGame",
    "RobustAccuracy",
]
