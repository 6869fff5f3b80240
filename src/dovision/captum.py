"""Captum's perturbation methods with captum's signatures, on the engine of this package: one import line to switch.

    from dovision.captum import FeatureAblation, Occlusion, ShapleyValueSampling  # in place of captum.attr

A network in eval mode, images of shape (B, C, H, W) and outputs of shape (B, K) go through `propagation`, which
recomputes what descends from each edit, as many edits a pass as memory allows; whatever else captum takes (several
inputs, functions, further arguments, networks in training mode) is left to captum's own code. Attributions are captum's
but for rounding: in float64 to 1e-7, in float32 to a millionth of the largest logit.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import captum.attr
import numpy as np
import torch
from scipy.ndimage import find_objects
from torch import Tensor, nn

from dovision.interfaces import Classifier, Context, Intervention
from dovision.propagation import Propagation
from dovision.types import INPUT, Batch, Box, Shape, Task

_MOST_LOGITS = 1 << 28  # (image, edit, class) that are held at a time
_Outputs = Callable[[Intervention], tuple[Tensor, Tensor]]  # the targets' outputs without and after edits


def _on_engine(method: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of `attribute`, which gives it captum's signature and leaves to captum what it returns None for.

    It is called only where the engine can answer, with `outputs` and captum's arguments by name.
    """
    signature = inspect.signature(method.attribute)

    def decorate(accelerated: Callable[..., Tensor | None]) -> Callable[..., Any]:
        @functools.wraps(method.attribute, assigned=())
        def attribute(self: Any, *arguments: Any, **named: Any) -> Any:
            call = signature.bind(self, *arguments, **named)
            call.apply_defaults()
            inputs, classifier = call.arguments["inputs"], _classifier(self, call.arguments)
            target = None if classifier is None else _targets(call.arguments["target"], inputs, classifier)
            if classifier is not None and target is not None:
                outputs = functools.partial(_outputs, classifier, inputs, target)
                attributions = accelerated(outputs=outputs, **call.arguments)
                if attributions is not None:
                    return attributions
            return method.attribute(self, *arguments, **named)

        return attribute

    return decorate


class FeatureAblation(captum.attr.FeatureAblation):  # type: ignore[misc]
    """`captum.attr.FeatureAblation`, about three times as fast on a ResNet-18 of 14 x 14 cells.

    Args:
        forward_func: as of captum; a module in eval mode is accelerated.

    Source: Kokhlikyan et al., Captum, arXiv:2009.07896.

    Example:
        >>> import torch
        >>> from dovision.captum import FeatureAblation
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2)).eval()
        >>> halves = torch.arange(2).repeat_interleave(4).expand(1, 1, 8, 8)
        >>> FeatureAblation(network).attribute(torch.rand(3, 1, 8, 8), target=1, feature_mask=halves).shape
        torch.Size([3, 1, 8, 8])
    """

    @_on_engine(captum.attr.FeatureAblation)
    def attribute(self, outputs: _Outputs, inputs: Tensor, *, baselines: Any, feature_mask: Any, **_: Any) -> Any:
        if not isinstance(feature_mask, Tensor) or feature_mask.shape[0] not in (1, len(inputs)):
            return None
        feature = torch.unique(feature_mask, return_inverse=True)[1].expand_as(inputs)
        boxes = [box[1:] for box in find_objects(feature.cpu().numpy() + 1)]
        control, treated = outputs(_Painted(boxes, _blank(inputs, baselines), feature))
        lost = control.unsqueeze(1) - treated
        return lost.take_along_dim(feature.flatten(1), 1).view_as(inputs)


class Occlusion(captum.attr.Occlusion):  # type: ignore[misc]
    """`captum.attr.Occlusion`, about 2.6 times as fast on a ResNet-18; arguments as of captum.

    Source: Zeiler and Fergus, arXiv:1311.2901.

    Example:
        >>> import torch
        >>> from dovision.captum import Occlusion
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2)).eval()
        >>> Occlusion(network).attribute(torch.rand(3, 1, 8, 8), (1, 4, 4), strides=(1, 2, 2), target=1).shape
        torch.Size([3, 1, 8, 8])
    """

    @_on_engine(captum.attr.Occlusion)
    def attribute(
        self, outputs: _Outputs, inputs: Tensor, *, sliding_window_shapes: Any, strides: Any, baselines: Any, **_: Any
    ) -> Any:
        windows = _windows(tuple(inputs.shape[1:]), sliding_window_shapes, strides)
        if not windows:
            return None
        control, treated = outputs(_Painted(windows, _blank(inputs, baselines)))
        total, count = torch.zeros_like(inputs), torch.zeros_like(inputs[0])
        for unit, window in enumerate(windows):
            index = (slice(None), *window)
            total[index] += (control - treated[:, unit]).view(-1, 1, 1, 1)
            count[window] += 1
        return total / count


class ShapleyValueSampling(captum.attr.ShapleyValueSampling):  # type: ignore[misc]
    """`captum.attr.ShapleyValueSampling` with its permutations; arguments as of captum.

    Coalitions are whole images, so that what is saved is that of batches and of coalitions that change nothing.

    Source: Castro et al., doi:10.1016/j.cor.2008.04.004.

    Example:
        >>> import torch
        >>> from dovision.captum import ShapleyValueSampling
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2)).eval()
        >>> halves = torch.arange(2).repeat_interleave(4).expand(1, 1, 8, 8)
        >>> ShapleyValueSampling(network).attribute(torch.rand(3, 1, 8, 8), target=1, feature_mask=halves).shape
        torch.Size([3, 1, 8, 8])
    """

    @_on_engine(captum.attr.ShapleyValueSampling)
    def attribute(
        self, outputs: _Outputs, inputs: Tensor, *, baselines: Any, feature_mask: Any, n_samples: int, **_: Any
    ) -> Any:
        if not isinstance(feature_mask, Tensor) or feature_mask.shape[0] != 1:
            return None
        orders = torch.tensor(list(self.permutation_generator(int(feature_mask.max()) + 1, n_samples)))
        edits = _Coalitions(feature_mask.expand_as(inputs), _blank(inputs, baselines), orders)
        treated = outputs(edits)[1]
        blank = treated[:, -1:].expand(-1, n_samples).unsqueeze(2)
        gained = torch.cat([blank, treated[:, :-1].view(-1, *orders.shape)], 2).diff(dim=2)
        index = orders.to(gained.device).expand_as(gained)
        of_feature = torch.zeros_like(gained).scatter_(2, index, gained).mean(1)
        return of_feature.take_along_dim(edits.feature.flatten(1), 1).view_as(inputs)


class _Painted(Intervention):
    """do(box = baseline), one unit a box of channels, rows and columns, of which perhaps one feature alone.

    Args:
        boxes: of the units.
        blank: the baselines, shape (B, C, H, W).
        feature: number of each pixel's unit, shape (B, C, H, W); None: boxes are painted whole.
    """

    site = INPUT

    def __init__(self, boxes: Sequence[tuple[slice, ...]], blank: Tensor, feature: Tensor | None = None) -> None:
        self.boxes, self.blank, self.feature = boxes, blank, feature

    def units(self, shape: Shape) -> tuple[str, ...]:
        return tuple(map(str, range(len(self.boxes))))

    def region(self, shape: Shape, unit: int, sample: int) -> Box | None:
        _, rows, columns = self.boxes[unit]
        return Box(rows.start, columns.start, rows.stop, columns.stop)

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        channels, rows, columns = self.boxes[unit]
        samples, box = context.batch.sample, (slice(None), *self.boxes[unit])
        new = value[:, :, rows, columns].clone()
        blank = self.blank[box][samples]
        if self.feature is not None:
            blank = torch.where(self.feature[box][samples] == unit, blank, new[:, channels])
        new[:, channels] = blank
        return new


class _Coalitions(Intervention):
    """do(all features but those of a coalition = baseline), along each order of features; the last unit has none."""

    site = INPUT

    def __init__(self, feature: Tensor, blank: Tensor, orders: Tensor) -> None:
        self.feature, self.blank = feature, blank
        self.rank = orders.argsort(1).to(feature.device)  # of a feature in an order
        self.count = orders.numel()

    def units(self, shape: Shape) -> tuple[str, ...]:
        return tuple(map(str, range(self.count + 1)))

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        rows = context.batch.sample
        if unit == self.count:
            return self.blank[rows].clone()
        order, step = divmod(unit, self.rank.shape[1])
        return torch.where(self.rank[order][self.feature[rows]] <= step, value, self.blank[rows])


def _classifier(method: Any, given: Mapping[str, Any]) -> Classifier | None:
    """The method's network, wrapped once and left as it is; None where captum's own code is to run."""
    network, inputs = method.forward_func, given["inputs"]
    is_image = isinstance(inputs, Tensor) and inputs.ndim == 4 and inputs.is_floating_point() and len(inputs) > 0
    further = given["additional_forward_args"] is not None or given["show_progress"] or given.get("kwargs")
    if not is_image or further or not isinstance(network, nn.Module):
        return None
    if any(module.training for module in network.modules()):  # such as dropout of an ensemble
        return None
    like = next(network.parameters(), inputs)
    if (like.dtype, like.device) != (inputs.dtype, inputs.device):
        return None
    if getattr(method, "_wrapped", (None,))[0] is not network:
        with torch.no_grad():
            output = network(inputs[:1])
        if not isinstance(output, Tensor) or output.ndim != 2 or output.shape[1] < 2:
            return None
        task = Task("multiclass", tuple(map(str, range(output.shape[1]))))
        classifier = network if isinstance(network, Classifier) else Classifier(network, task, (0.0,), (1.0,))
        classifier.training = False
        method._wrapped = network, classifier
    return method._wrapped[1]


def _targets(target: Any, inputs: Tensor, classifier: Classifier) -> Tensor | None:
    """The class of each image, shape (B,); None where captum's own code is to run."""
    if target is None or isinstance(target, tuple):  # an index into an output of more dimensions
        return None
    try:
        wanted = torch.as_tensor(target, device=inputs.device).expand(len(inputs))
    except (RuntimeError, TypeError, ValueError):
        return None
    is_class = not wanted.is_floating_point() and wanted.min() >= 0 and wanted.max() < len(classifier.task.classes)
    return wanted if is_class else None


def _outputs(classifier: Classifier, inputs: Tensor, target: Tensor, edits: Intervention) -> tuple[Tensor, Tensor]:
    """The targets' outputs without an edit, shape (B,), and after each, (B, U)."""
    propagation = Propagation(classifier, edits)
    logits = len(edits.units(tuple(inputs.shape[1:]))) * len(classifier.task.classes)
    control, treated = [], []
    for rows in torch.split(torch.arange(len(inputs), device=inputs.device), max(_MOST_LOGITS // logits, 1)):
        outcome = propagation(Batch(inputs[rows].detach(), target[rows], rows, rows))
        image = torch.arange(len(rows), device=inputs.device)
        control.append(outcome.control[image, target[rows]])
        treated.append(outcome.treated[image, :, target[rows]])
    return torch.cat(control), torch.cat(treated)


def _blank(inputs: Tensor, baselines: Any) -> Tensor:
    """Baselines as images, shape (B, C, H, W)."""
    if isinstance(baselines, tuple) and len(baselines) == 1:  # one an input
        (baselines,) = baselines
    blank = torch.as_tensor(0 if baselines is None else baselines, dtype=inputs.dtype, device=inputs.device)
    return blank.expand_as(inputs)


def _windows(shape: Shape, sizes: Any, strides: Any) -> list[tuple[slice, ...]]:
    """Captum's windows over channels, rows and columns, the last ones cut off; none where it is to refuse them."""
    listed = strides if isinstance(strides, tuple) else (strides or 1,) * len(shape)
    fits = isinstance(sizes, tuple) and len(sizes) == len(listed) == len(shape)
    if not fits or any(not 0 < step <= size <= whole for step, size, whole in zip(listed, sizes, shape, strict=True)):
        return []
    spans = []
    for step, size, whole in zip(listed, sizes, shape, strict=True):
        starts = np.arange(-(-(whole - size) // step) + 1) * step
        spans.append([slice(int(start), min(int(start) + size, whole)) for start in starts])
    return list(itertools.product(*spans))
