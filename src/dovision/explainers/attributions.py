"""Attributions by captum: any of its methods by name, and two of them with settings of this package."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import captum.attr
import torch
from captum.attr._utils.attribution import Attribution, PerturbationAttribution
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn

from dovision import checks
from dovision.explainers import _layers
from dovision.functional import geometry
from dovision.functional.effects import SCALES, evidence
from dovision.functional.rng import seeded
from dovision.interfaces import Classifier, Explainer
from dovision.propagation.chunking import is_out_of_memory
from dovision.types import Batch, Shape

LOGITS = "logits"
_WINDOWS = 14  # windows along the shorter side, by default
_DRAWS = {"n_samples", "nt_samples"}  # arguments of methods that draw at random
_NOISE = set(inspect.signature(captum.attr.NoiseTunnel.attribute).parameters) - {"self", "inputs", "kwargs"}
_GIVEN = ("self", "forward_func", "model", "layer", "inputs", "target", "feature_mask", "layer_mask", "kwargs")
# Methods without a map of one image: of a neuron, of language models, of whole batches, or parts of other methods.
_OTHERS = ("Neuron", "LLM", "RemoteLLM", "DataLoader", "FeaturePermutation", "LayerFeature", "LimeBase", "NoiseTunnel")
METHODS = tuple(
    name
    for name, method in inspect.getmembers(captum.attr, inspect.isclass)
    if issubclass(method, Attribution) and hasattr(method, "attribute") and not name.startswith(_OTHERS)
)
# Methods that take blank images of one distribution.
_OF_BLANKS = tuple(method for name, method in vars(captum.attr).items() if name.endswith(("GradientShap", "LiftShap")))
_BY_MODULE = (captum.attr.DeepLift, captum.attr.LayerDeepLift)  # which refuse a module that is called twice


class Captum(Explainer):
    """Attributions of any method of captum, summed over channels.

    The method explains the classifier on images in [0, 1], its normalisation inside; LRP begins behind the
    normalisation, which has no rule. Methods that draw at random are seeded by (seed, sample).

    Args:
        method: the name of a class of `captum.attr`, such as "DeepLift"; the class; or an object of it, whose settings
            count; its function must be the classifier or the network of it.
        layer: name or module of a layer, for methods of one, such as LayerGradCam; None is the last spatial layer of a
            known network.
        arguments: of the class and of its `attribute`, by name. Numbers in `baselines` are pixel units; several are
            blank images of one distribution, for GradientShap and DeepLiftShap. Numbers in `sliding_window_shapes` and
            `strides` are pixels. Those of NoiseTunnel, such as {"nt_samples": 50, "stdevs": 0.15}, average over noisy
            images.
        cells: rows and columns of a grid, or one number for both. Its cells are the features of methods that take a
            `feature_mask`, such as Lime; maps of other methods are summed over each cell. None: pixel by pixel.
        scale: what is explained: the class's logits, its probability or its log_odds.
        absolute: whether the sizes of the attributions are summed over the channels.
        seed: of the draws.
        batch_size: images a pass; the map depends on it in its last bits.

    Raises:
        ValueError: captum has no such method, it takes no such argument, or it refuses the network.

    Source: Kokhlikyan et al., Captum, arXiv:2009.07896.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.Captum("InputXGradient")(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
        >>> lime = dv.Captum("Lime", arguments={"n_samples": 20}, cells=4)
        >>> lime(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(
        self,
        method: str | type[Attribution] | Attribution,
        layer: str | nn.Module | None = None,
        arguments: Mapping[str, Any] | None = None,
        cells: int | Sequence[int] | None = None,
        scale: str = LOGITS,
        absolute: bool = False,
        seed: int = 0,
        batch_size: int = 16,
    ) -> None:
        if isinstance(method, str):
            method = getattr(captum.attr, checks.choice("method", method, METHODS))
        inner: Any = getattr(method, "attribution_method", method)  # in a NoiseTunnel
        self.method: Any = method
        self.attribution: Any = inner if inspect.isclass(inner) else type(inner)
        if not issubclass(self.attribution, Attribution):
            checks.instance("method", method, Attribution, "one of captum's")
        self.name = self.attribution.__name__
        made, taken = (inspect.signature(getattr(self.attribution, call)) for call in ("__init__", "attribute"))
        self.by_layer = "layer" in made.parameters
        if layer is not None and not self.by_layer:
            raise ValueError(f"layer must be left out: {self.name} of captum has none. LayerGradCam, for one, has.")
        self.layer = getattr(inner, "layer", layer)
        settings = made.parameters if self.method is self.attribution else ()  # an object has its own
        legal = [key for key in dict.fromkeys([*settings, *taken.parameters, *_NOISE]) if key not in _GIVEN]
        self.arguments = dict(arguments or {})
        for key in self.arguments:
            if key not in legal:
                raise ValueError(checks.unknown_key(f"arguments of {self.name}", key, legal))
        self.seed = checks.seed(seed)
        self.batch_size = checks.positive_int("batch_size", batch_size)
        for name in self.arguments.keys() & {"n_steps", *_DRAWS}:
            checks.positive_int(name, self.arguments[name])
        levels = self.arguments.get("baselines")
        if isinstance(levels, (list, tuple)) and not issubclass(self.attribution, _OF_BLANKS):
            raise ValueError(
                f"baselines of {self.name} must be one number or a tensor, got {levels!r}. For one number a channel, "
                "give a tensor of the image's shape, (1, C, H, W)."
            )
        for level in levels if isinstance(levels, (list, tuple)) else [levels]:
            if level is not None and not isinstance(level, Tensor):
                checks.within("baselines", level, 0, 1, "It is in pixel units.")
        sides = [cells, cells] if isinstance(cells, int) else cells
        if sides is not None and len(sides) != 2:
            raise ValueError(f"cells must be one number or two, rows and columns, got {cells!r}.")
        self.cells = tuple(checks.positive_int("cells", side) for side in sides or ()) or None
        self.scale = checks.choice("scale", scale, (LOGITS, *SCALES))
        self.absolute = absolute

    def check(self, classifier: Classifier, shape: Shape) -> None:
        function = getattr(self.method, "forward_func", classifier)
        if not any(getattr(function, "__self__", function) is module for module in classifier.modules()):
            remedy = f"Give its class and the scale: dv.Captum(captum.attr.{self.name}, scale='probability')."
            raise ValueError(f"method must explain the classifier, got {self.name} of another function. {remedy}")
        self._features(shape)
        if self.by_layer:
            _layers.check_layer(classifier, self.layer, shape)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        return self._maps(batch, target, classifier, self.arguments)

    def _maps(self, batch: Batch, target: Tensor, classifier: Classifier, arguments: Mapping[str, Any]) -> Tensor:
        """Maps with these arguments, shape (B, h, w)."""
        image = batch.image.detach()
        name = _layers.chosen(classifier, self.layer, image) if self.by_layer else ""
        method, made = self._method(classifier, name), dict(arguments)
        if _NOISE & set(made) and not isinstance(method, captum.attr.NoiseTunnel):
            method = captum.attr.NoiseTunnel(method)
        taken = dict(inspect.signature(type(method).attribute).parameters)
        taken |= inspect.signature(self.attribution.attribute).parameters
        for key in inspect.signature(self.attribution.__init__).parameters:
            made.pop(key, None)
        features = self._features(tuple(image.shape[1:]))
        is_grid = features is not None and "feature_mask" in taken
        if features is not None and is_grid:
            made["feature_mask"] = features.to(image.device)
        for key in ("sliding_window_shapes", "strides"):
            if isinstance(made.get(key), int):
                made[key] = (image.shape[1], made[key], made[key])
                is_grid = True  # all channels are one feature
        if isinstance(made.get("baselines"), (list, tuple)):
            blank = torch.tensor(made["baselines"]).to(image)
            made["baselines"] = blank.view(-1, 1, 1, 1).expand(-1, *image.shape[1:]).contiguous()
        random, of_edits = bool(_DRAWS & set(taken)), issubclass(self.attribution, PerturbationAttribution)
        attributions = []
        with self._prepared(classifier, image[:1]):
            for number, (images, classes) in enumerate(chunks(batch, target, 1 if random else self.batch_size)):
                limits = self._limits(taken, len(images), made)
                inputs = (images - classifier.mean) / classifier.std if self._by_rules else images
                inputs.requires_grad_(not of_edits)
                limits |= {"target": classes} if "target" in taken else {}
                with torch.set_grad_enabled(not of_edits), seeded(image.device, self.seed, int(batch.sample[number])):
                    attributions.append(self._attributed(method, inputs, made | limits))
        whole = torch.cat(attributions).detach()
        if self.by_layer:
            whole = _layers.as_map(whole, name, classifier, image)
        if self.absolute:
            whole = whole.abs()
        maps = whole[:, 0] if is_grid else whole.sum(1)
        return maps if is_grid or self.cells is None else self._summed(maps)

    def _summed(self, maps: Tensor) -> Tensor:
        """Sum maps, shape (B, H, W), over each cell."""
        summed, shape = torch.empty_like(maps), (1, *maps.shape[1:])
        rows, columns = self.cells or (1, 1)
        for cell in range(rows * columns):
            region = geometry.grid_cell(shape, cell, rows, columns)
            region.crop(summed)[:] = region.crop(maps).sum((1, 2), keepdim=True)
        return summed

    @property
    def _by_rules(self) -> bool:
        return issubclass(self.attribution, (captum.attr.LRP, captum.attr.LayerLRP))

    @contextmanager
    def _prepared(self, classifier: Classifier, image: Tensor) -> Iterator[None]:
        """Give the network in the block what captum's methods with hooks on modules ask for."""
        linear = [module for module in classifier.modules() if isinstance(module, (nn.Flatten, nn.Identity))]
        try:
            for module in linear if self._by_rules else ():
                module.rule = EpsilonRule()  # captum has none for them
            with _separate_calls(classifier, image) if issubclass(self.attribution, _BY_MODULE) else nullcontext():
                yield
        finally:
            for module in linear:
                vars(module).pop("rule", None)

    def _method(self, classifier: Classifier, layer: str) -> Attribution:
        """The method, with the classifier as what it explains."""
        function = _Explained(classifier, self)
        if self.method is not self.attribution:  # layers are shared, the function is replaced
            memo: dict[int, Any] = {id(module): module for module in classifier.modules()}
            return copy.deepcopy(self.method, memo | {id(self.method.forward_func): function})
        made = inspect.signature(self.attribution.__init__).parameters
        settings = {key: value for key, value in self.arguments.items() if key in made}
        modules = [classifier.network.get_submodule(layer)] if layer else []
        return self.attribution(function, *modules, **settings)

    def _limits(self, taken: Mapping[str, Any], images: int, made: Mapping[str, Any]) -> dict[str, Any]:
        """Captum's arguments for at most `batch_size` images a pass."""
        draws = made.get("nt_samples", 5)
        sizes = {
            "perturbations_per_eval": max(1, self.batch_size // images),
            "internal_batch_size": self.batch_size,
            "nt_samples_batch_size": min(self.batch_size, draws),
        }
        return {key: size for key, size in sizes.items() if key in taken and key not in made}

    def _attributed(self, method: Attribution, image: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of hooks, set and removed
                return method.attribute(image, **arguments)
        except Exception as error:  # captum's own asserts, and errors of torch's hooks
            if isinstance(error, ValueError) or is_out_of_memory(error):
                raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise ValueError(
                f"captum's {self.name} fails on this network: {reason}. Choose another method, such as "
                f"IntegratedGradients, or give arguments: dv.Captum(captum.attr.{self.name}, arguments={{..: ..}})."
            ) from error

    def _features(self, shape: Shape) -> Tensor | None:
        """Cell number of each pixel, shape (1, 1, H, W); None without cells."""
        if self.cells is None:
            return None
        features = torch.zeros(shape[1:], dtype=torch.int64)
        for cell in range(self.cells[0] * self.cells[1]):
            geometry.grid_cell(shape, cell, *self.cells).crop(features).fill_(cell)
        return features[None, None]


class IntegratedGradients(Captum):
    """Path integral of the class logit's gradient from a blank image, times the path, summed over channels.

    A map's sum is the logit of the image minus that of the blank one, but for the steps' error; the mean over several
    blank images.

    Args:
        steps: gradients per image and baseline.
        baselines: every pixel of each blank image, in pixel units.
        cells: a side of a grid over whose cells a map is summed: the share of each cell in the effect of fading the
            image to a blank one. None: pixel by pixel.
        batch_size: images a pass; the map depends on it in its last bits.

    Source: Sundararajan et al., arXiv:1703.01365.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.IntegratedGradients(steps=5)(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(
        self, steps: int = 50, baselines: Sequence[float] = (0.0,), cells: int | None = None, batch_size: int = 16
    ) -> None:
        steps = checks.positive_int("steps", steps)
        super().__init__("IntegratedGradients", arguments={"n_steps": steps}, cells=cells, batch_size=batch_size)
        self.baselines = [checks.within("baselines", level, 0, 1, "It is in pixel units.") for level in baselines]
        checks.nonempty("baselines", self.baselines)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        return self.run_each(batch, target, classifier).mean(1)

    def run_each(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        blanks = [self.arguments | {"baselines": blank} for blank in self.baselines]
        return torch.stack([self._maps(batch, target, classifier, blank) for blank in blanks], 1)


class Occlusion(Captum):
    """Loss of class evidence under a painted window, averaged where windows overlap.

    Args:
        window: its side, in pixels; None is a fourteenth of the image's shorter side.
        stride: from window to window, in pixels, at most `window`; None is the same fourteenth.
        fill: what the window is painted with, in pixel units.
        scale: probability or log_odds.
        batch_size: images a pass; the map depends on it in its last bits.

    Source: Zeiler and Fergus, arXiv:1311.2901.

    Example:
        >>> classifier, digits = dv.example()
        >>> dv.Occlusion(window=2, stride=2)(digits, digits.label, classifier).shape
        torch.Size([8, 8, 8])
    """

    def __init__(
        self,
        window: int | None = None,
        stride: int | None = None,
        fill: float = 0.0,
        scale: str = "probability",
        batch_size: int = 16,
    ) -> None:
        self.window = None if window is None else checks.positive_int("window", window)
        self.stride = None if stride is None else checks.positive_int("stride", stride)
        fill = checks.within("fill", fill, 0, 1, "It is in pixel units.")
        scale = checks.choice("scale", scale, SCALES)
        super().__init__("Occlusion", arguments={"baselines": fill}, scale=scale, batch_size=batch_size)

    def check(self, classifier: Classifier, shape: Shape) -> None:
        self._sizes(*shape[1:])

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        window, stride = self._sizes(*batch.image.shape[2:])
        sizes = {"sliding_window_shapes": window, "strides": stride}
        return self._maps(batch, target, classifier, self.arguments | sizes)

    def _sizes(self, height: int, width: int) -> tuple[int, int]:
        """Side of the window and stride, in pixels."""
        usual = max(1, round(min(height, width) / _WINDOWS))
        window, stride = self.window or usual, self.stride or usual
        if window > min(height, width):
            raise ValueError(f"window must fit into the {height} x {width} image, got {window} pixels.")
        if stride > window:
            raise ValueError(
                f"stride must be at most the window's {window} pixels, so that no pixel is left out, got {stride}."
            )
        return window, stride


class _Explained(nn.Module):
    """Evidence for each class on the explainer's scale, of images in [0, 1]; for LRP, of normalised ones."""

    def __init__(self, classifier: Classifier, explainer: Captum) -> None:
        super().__init__()
        self.classifier = classifier
        self.scale = explainer.scale
        self.normalised = explainer._by_rules

    def forward(self, image: Tensor) -> Tensor:
        logits = self.classifier(image * self.classifier.std + self.classifier.mean if self.normalised else image)
        return logits if self.scale == LOGITS else evidence(logits, self.classifier.task, self.scale)


class _EachCall(nn.Module):
    """Copies of a module without weights, one for each of its calls in a pass."""

    def __init__(self, module: nn.Module, calls: int) -> None:
        super().__init__()
        self.copies = nn.ModuleList(copy.deepcopy(module) for _ in range(calls))
        self.following = 0

    def forward(self, value: Tensor) -> Tensor:
        self.following = (self.following + 1) % len(self.copies)
        return self.copies[self.following](value)


@contextmanager
def _separate_calls(classifier: Classifier, image: Tensor) -> Iterator[None]:
    """Give each call of a module without weights a module of its own in the block, as ResNet's ReLU needs."""
    network, calls = classifier.network, Counter[nn.Module]()
    with ExitStack() as hooks, torch.no_grad():
        for module in network.modules():
            if not [*module.children(), *module.parameters()]:
                hooks.enter_context(module.register_forward_hook(lambda module, *_: calls.update([module])))
        network((image - classifier.mean) / classifier.std)
    split = {module: _EachCall(module, number) for module, number in calls.items() if number > 1}
    names = {name: module for name, module in network.named_modules(remove_duplicate=False) if module in split}
    try:
        for name, module in names.items():
            network.set_submodule(name, split[module])
        yield
    finally:
        for name, module in names.items():
            network.set_submodule(name, module)


def chunks(batch: Batch, target: Tensor, size: int) -> Iterator[tuple[Tensor, list[int]]]:
    """Images without gradients and their classes, at most `size` at a time."""
    pairs = zip(torch.split(batch.image.detach(), size), torch.split(target, size), strict=True)
    return ((image, classes.tolist()) for image, classes in pairs)
