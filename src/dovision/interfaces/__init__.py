"""Interfaces of components, one file each."""

from dovision.interfaces.attack import Attack
from dovision.interfaces.classifier import Autoencoder, Classifier, ClassifierComponent
from dovision.interfaces.dataset import Counterfactuals, Images, Source, Split
from dovision.interfaces.detector import Detector
from dovision.interfaces.explainer import Explainer, Explanation
from dovision.interfaces.intervention import Context, Intervention
from dovision.interfaces.pastable_repr import PastableRepr

__all__ = [
    "Attack",
    "Autoencoder",
    "Classifier",
    "ClassifierComponent",
    "Context",
    "Counterfactuals",
    "Detector",
    "Explainer",
    "Explanation",
    "Images",
    "Intervention",
    "PastableRepr",
    "Source",
    "Split",
]
