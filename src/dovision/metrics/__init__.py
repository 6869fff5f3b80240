"""Metrics for torchmetrics: effects, attacks, localisation, detection, autoencoders, right on any number of devices."""

from dovision.metrics.attacks import AttackSuccess, RobustAccuracy
from dovision.metrics.detection import DetectionAUROC
from dovision.metrics.effects import AverageEffect, MeanAbsoluteExpectedEffect
from dovision.metrics.localization import EnergyInBox, PointingGame
from dovision.metrics.reconstruction import ReconstructionQuality

__all__ = [
    "AttackSuccess",
    "AverageEffect",
    "DetectionAUROC",
    "EnergyInBox",
    "MeanAbsoluteExpectedEffect",
    "PointingGame",
    "ReconstructionQuality",
    "RobustAccuracy",
]
