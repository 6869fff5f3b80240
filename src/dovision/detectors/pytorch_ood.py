"""Detectors of out-of-distribution images, from the library pytorch-ood, as detectors of attacks."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dovision import checks
from dovision.detectors._estimators import best_column
from dovision.detectors._outputs import logits_of, penultimate
from dovision.interfaces import Classifier, Detector
from dovision.module_state import evaluating
from dovision.types import Batch, Shape

_FITS = {  # name of the method that fits, by that of the method that scores
    "predict_logits": "fit_logits",
    "predict_features": "fit_features",
    "predict_feature_maps": "fit_feature_maps",
}
CANDIDATES: Mapping[str, Mapping[str, object]] = {  # settings by method, where none are given
    "ASH": {"percentile": [0.65, 0.75, 0.85, 0.95]},  # share of activations that are removed
    "DICE": {"p": [0.1, 0.3, 0.5, 0.7, 0.9]},  # share of weights of the last layer that are left out
    "KNN": {"k": [1, 3, 5, 10]},  # number of the neighbour
    "LTS": {"p": [0.05, 0.1, 0.2]},  # share of activations that are the largest
    "NCI": {"alpha": [0.0, 0.001, 0.01, 0.1]},  # weight of the size of features
    "NNGuide": {"k": [1, 3, 5, 10]},  # nearest images
    "OpenMax": {"tailsize": 10, "alpha": 3},  # images of a class in the tail, classes revised; its fit is slow
    "ReAct": {"percentile": [0.85, 0.9, 0.95, 0.99]},  # share of activations below the cut
    "SCALE": {"percentile": [0.65, 0.75, 0.85, 0.95]},  # share of activations that are not among the largest
    "ViM": {"d": [16, 32, 64, 128]},  # dimensions of the principal subspace
    "VRA": {"lower_percentile": [0.01, 0.05, 0.1], "upper_percentile": [0.9, 0.95, 0.99]},  # shares below the cuts
}
_OF_WEIGHTS = ("GradNorm",)  # score inputs of a network by `predict`; the last layer is the network here
_MULTILABEL = ("KNN", "MaxLogit")  # all others take one of the classes to be true
_SETTINGS = (bool, int, float, str)  # types of those of an object
_STEP = 1e-2  # of a central difference, in the mean size of a feature
_COLUMNS = 64  # features that share a pass of central differences


class PytorchOOD(Detector):
    """Score of a pytorch-ood detector, on logits or on the penultimate features.

    It is fitted to clean images, with the class that the classifier predicts in the place of the label. Of several
    settings each is fitted, and the one of the highest AUROC on attacked images is picked; then it is supervised. The
    gradient is that of the library's arithmetic where it can be followed, and otherwise (GradNorm, KNN, OpenMax, ViM
    and some more) one of central differences with respect to what is read.

    Args:
        method: name of a class of pytorch_ood.detector that scores logits, features or feature maps, or GradNorm; the
            class; or an object of it, whose plain settings count, and not its network.
        settings: arguments of that class by name, each with one value or a list of candidates. None: those of
            CANDIDATES, or the class's own.

    Raises:
        ImportError: the extra `ood` is not installed.
        ValueError: there is no such method or setting; at the first image, if the logits are not those of a last linear
            layer, or the task is multilabel and the method is not.

    Source: Kirchheim, Filax and Ortmeier, PyTorch-OOD, CVPR workshops 2022; each class names the work that it follows.

    Example:
        >>> classifier, digits = dv.example()
        >>> detector = dv.PytorchOOD("EnergyBased")
        >>> detector.read(digits, classifier).shape
        torch.Size([8, 10])
    """

    passes = 1
    linear: nn.Linear | None = None  # the last layer, known once an image was read
    fitted: Any  # the library's detector, as it is picked

    def __init__(self, method: Any, settings: Mapping[str, object] | None = None) -> None:
        library = vars(checks.import_extra("pytorch_ood.detector", "ood"))
        methods = [name for name, value in library.items() if inspect.isclass(value) and _scoring(value)]
        of_library = method if inspect.isclass(method) else type(method)
        self.method = checks.choice("method", method if isinstance(method, str) else of_library.__name__, methods)
        self.library_class = library[self.method]
        self.scoring, legal = _scoring(self.library_class), inspect.signature(self.library_class).parameters
        if settings is None and isinstance(method, self.library_class):
            settings = {key: vars(method)[key] for key in legal if isinstance(vars(method).get(key), _SETTINGS)}
        settings = CANDIDATES.get(self.method, {}) if settings is None else settings
        for key in settings:
            checks.choice(f"settings of {self.method}", key, legal)
        values = [value if isinstance(value, (list, tuple)) else [value] for value in settings.values()]
        self.candidates = [dict(zip(settings, chosen, strict=True)) for chosen in itertools.product(*values)]
        self.supervised = len(self.candidates) > 1

    @property
    def needs_fit(self) -> bool:
        return bool(self.library_class.requires_fit) or self.supervised

    def check(self, classifier: Classifier, shape: Shape) -> None:
        with evaluating(classifier), torch.no_grad():
            self._read(classifier.mean.new_zeros(1, *shape), classifier)

    def read_features(self, batch: Batch, classifier: Classifier) -> Tensor:
        return self._read(batch.image, classifier)

    def fit_features(self, clean: Tensor, attacked: Tensor) -> None:
        made = [self._made(settings, clean) for settings in self.candidates]
        self.fitted = made[0]
        if self.supervised:
            scores = (torch.stack([self._score(fitted, rows) for fitted in made], 1) for rows in (clean, attacked))
            chosen = best_column(*scores)
            self.fitted, self.tuned = made[chosen], self.candidates[chosen]

    def score_features(self, features: Tensor) -> Tensor:
        fitted = self.fitted if self.needs_fit else self._made(self.candidates[0], features)
        return follow_score(lambda rows: self._score(fitted, rows), features)

    def _read(self, image: Tensor, classifier: Classifier) -> Tensor:
        if classifier.task.multilabel and self.method not in _MULTILABEL:
            raise ValueError(
                f"{self.method} of pytorch-ood takes one of the classes to be true, got a multilabel task. For such "
                f"tasks choose {' or '.join(_MULTILABEL)}."
            )
        if self.scoring == "predict_logits":
            return logits_of(image, classifier)
        self.linear, features, _ = penultimate(image, classifier)
        self.task = classifier.task
        return features

    def _made(self, settings: Mapping[str, Any], clean: Tensor) -> Any:
        """Construct the library's detector, fitted to clean rows, shape (N, F), if required."""
        rows = clean.detach().float().cpu()
        head = None if self.linear is None else _copy(self.linear)
        label = (rows if head is None else head(rows)).argmax(1)
        if self.linear is not None:
            present, label = label.unique(return_inverse=True)  # some methods refuse a gap in the numbers
            if self.method == "SHE":  # which has a pattern for each class that occurs
                head = _copy(self.linear, present)
            if self.task.multilabel:
                label = torch.zeros_like(label)
        made = self.library_class(**self._network_arguments(head), **settings)
        if self.library_class.requires_fit:
            getattr(made, _FITS[self.scoring])(self._shaped(rows), label)
        return made

    def _network_arguments(self, head: nn.Linear | None) -> dict[str, Any]:
        """Parts of a network that the library's class takes; None if it only needs the output."""
        arguments: dict[str, Any] = {"model": None, "encoder": None, "backbone": None}
        if head is not None:
            maps = self.scoring == "predict_feature_maps"
            arguments |= {"head": nn.Sequential(nn.Flatten(), head) if maps else head, "w": head.weight, "b": head.bias}
            arguments |= {"model": head} if self.method in _OF_WEIGHTS else {}
        return {
            name: value for name, value in arguments.items() if name in inspect.signature(self.library_class).parameters
        }

    def _score(self, made: Any, rows: Tensor) -> Tensor:
        """Score by the library's method without its no-grad guards, (N, F) to (N,)."""
        score = inspect.unwrap(getattr(self.library_class, self.scoring))
        return score(made, self._shaped(rows.float().cpu())).to(rows)

    def _shaped(self, rows: Tensor) -> Tensor:
        return rows[:, :, None, None] if self.scoring == "predict_feature_maps" else rows


def follow_score(score: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """Differentiable scores of features, (B, F) to (B,), by central differences if the library has no gradient."""
    value = score(features)
    if value.requires_grad or not (features.requires_grad and torch.is_grad_enabled()):
        return value
    linear = (features * central_differences(score, features.detach())).sum(1)
    return value + linear - linear.detach()


@torch.no_grad()
def central_differences(score: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
    """Slope of the score of each row along each feature, shape (B, F)."""
    step = _STEP * features.abs().mean().clamp(min=1e-6)
    slopes = []
    for steps in torch.split(step * torch.eye(features.shape[1]).to(features), _COLUMNS):
        up, down = (score((features + sign * steps.unsqueeze(1)).flatten(0, 1)) for sign in (1, -1))
        slopes.append(((up - down) / (2 * step)).view(len(steps), -1))
    return torch.cat(slopes).T


def _copy(linear: nn.Linear, rows: Tensor | None = None) -> nn.Linear:
    """CPU copy of the layer in single precision with these outputs (None: all); no gradients."""
    weight = linear.weight.detach().float().cpu()
    bias = torch.zeros(len(weight)) if linear.bias is None else linear.bias.detach().float().cpu()
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    copy = nn.Linear(weight.shape[1], len(weight)).requires_grad_(False)
    copy.load_state_dict({"weight": weight, "bias": bias})
    return copy


def _scoring(library_class: type[Any]) -> str:
    """Name of a class's scoring method; empty if it has none that can be called here."""
    if library_class.__name__ in _OF_WEIGHTS:
        return "predict"
    bases = [vars(base) for base in library_class.__mro__ if "detector" in base.__module__]
    return next((name for name in _FITS if any(name in base for base in bases)), "")
