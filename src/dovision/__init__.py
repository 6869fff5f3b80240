"""Causal effects of interventions on image classifiers: do-calculus for vision models.

In a notebook, with any torch module:

    >>> import dovision as dv
    >>> classifier = dv.wrap(network, classes=1000, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    >>> dv.effect_map(classifier, image, dv.PixelGrid(7, 7)).map

`dv.metrics` holds effects, attacks, localisation and detection as metrics for torchmetrics. Nothing here imports W&B,
and only the callbacks (EffectEvaluation, MapEvaluation, Detection) import Lightning and Hydra; torch is imported with
the first name that is used, so that the commands' --help need not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dovision import metrics as metrics
    from dovision.api import EffectResult, effect_map, to_batch, wrap
    from dovision.attacks.gradient_ascent import BIM, FGSM, PGD
    from dovision.evaluation.detection import Detection as Detection
    from dovision.evaluation.effects import EffectEvaluation as EffectEvaluation
    from dovision.evaluation.maps import MapEvaluation as MapEvaluation
    from dovision.evaluation.on_validation import OnValidation as OnValidation
    from dovision.functional.outputs import BoxScore, ClassShare, MeanLogit
    from dovision.interfaces import Attack, Classifier, Images, Intervention
    from dovision.interventions.activation import Activation
    from dovision.interventions.brush import Brush
    from dovision.interventions.fills import Blur, Constant, Mean, Noise, Transformed
    from dovision.interventions.interchange import Interchange
    from dovision.interventions.perturbation import Perturbation
    from dovision.interventions.pixel_grid import PixelGrid
    from dovision.interventions.segments import Segments
    from dovision.interventions.sliding_window import SlidingWindow
    from dovision.interventions.token_drop import TokenDrop
    from dovision.interventions.transform import Transform
    from dovision.interventions.transforms import (
        BitDepth,
        GaussianFilter,
        JpegCompression,
        MedianFilter,
        NonLocalMeans,
        Resampling,
        Rotation,
        Shift,
        SignNoise,
        TransformSequence,
    )
    from dovision.interventions.values import GaussianNoise, ReferenceMean, Resample, SampleMean, Steering, Zero
    from dovision.models.checkpoint import load
    from dovision.types import CODE, INPUT, Batch, Box, Task

__all__ = [
    "BIM",
    "CODE",
    "FGSM",
    "INPUT",
    "PGD",
    "Activation",
    "Attack",
    "Batch",
    "BitDepth",
    "Blur",
    "Box",
    "BoxScore",
    "Brush",
    "ClassShare",
    "Classifier",
    "Constant",
    "EffectResult",
    "GaussianFilter",
    "GaussianNoise",
    "Images",
    "Interchange",
    "Intervention",
    "JpegCompression",
    "Mean",
    "MeanLogit",
    "MedianFilter",
    "Noise",
    "NonLocalMeans",
    "Perturbation",
    "PixelGrid",
    "ReferenceMean",
    "Resample",
    "Resampling",
    "Rotation",
    "SampleMean",
    "Segments",
    "Shift",
    "SignNoise",
    "SlidingWindow",
    "Steering",
    "Task",
    "TokenDrop",
    "Transform",
    "TransformSequence",
    "Transformed",
    "Zero",
    "effect_map",
    "load",
    "to_batch",
    "wrap",
]

_HOMES = {
    "attacks.gradient_ascent": ("BIM", "FGSM", "PGD"),
    "functional.outputs": ("BoxScore", "ClassShare", "MeanLogit"),
    "interfaces": ("Attack", "Classifier", "Images", "Intervention"),
    "interventions.activation": ("Activation",),
    "interventions.brush": ("Brush",),
    "interventions.fills": ("Blur", "Constant", "Mean", "Noise", "Transformed"),
    "interventions.interchange": ("Interchange",),
    "interventions.perturbation": ("Perturbation",),
    "interventions.pixel_grid": ("PixelGrid",),
    "interventions.segments": ("Segments",),
    "interventions.sliding_window": ("SlidingWindow",),
    "interventions.token_drop": ("TokenDrop",),
    "interventions.transform": ("Transform",),
    "interventions.transforms": (
        "BitDepth",
        "GaussianFilter",
        "JpegCompression",
        "MedianFilter",
        "NonLocalMeans",
        "Resampling",
        "Rotation",
        "Shift",
        "SignNoise",
        "TransformSequence",
    ),
    "interventions.values": ("GaussianNoise", "ReferenceMean", "Resample", "SampleMean", "Steering", "Zero"),
    "models.checkpoint": ("load",),
    "types": ("CODE", "INPUT", "Batch", "Box", "Task"),
    "api": ("EffectResult", "effect_map", "to_batch", "wrap"),
}

_WITH_LIGHTNING = {  # which `from dovision import *` leaves alone
    "evaluation.detection": ("Detection",),
    "evaluation.effects": ("EffectEvaluation",),
    "evaluation.maps": ("MapEvaluation",),
    "evaluation.on_validation": ("OnValidation",),
}


def __getattr__(name: str) -> Any:
    for home, names in {**_HOMES, **_WITH_LIGHTNING}.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    if name == "metrics":
        return import_module(f"{__name__}.metrics")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *(name for names in _WITH_LIGHTNING.values() for name in names), "metrics"})
