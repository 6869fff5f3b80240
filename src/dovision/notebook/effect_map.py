"""Effects of an intervention on a few images, with a map: plain arguments, nothing to configure."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.api import checked_logits
from dovision.datasets.as_images import label_tensor
from dovision.functional import effects, logit_checks
from dovision.functional.effects import SCALES
from dovision.interfaces import Classifier, Intervention
from dovision.io.progress import DISPLAY
from dovision.measurement.by_name import one_component
from dovision.notebook.image_data import ImageData, as_images
from dovision.notebook.results import Result
from dovision.notebook.running import Running
from dovision.propagation import Outcome, Propagation
from dovision.types import Batch

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class EffectResult(Result):
    """Effects of an intervention on a few images.

    Args:
        map: evidence for the target class, minus the effect of the unit that lies there, shape (B, H, W): positive
            where do(u) takes evidence away, as in the maps of `explain`; zeros where no unit lies.
        effect: treated minus control, shape (B, U, K), in [-1, 1], or of log-odds.
        control: P(y | x), shape (B, K), or its log-odds.
        units: names of the U units.
        image: the images, shape (B, C, H, W), in [0, 1].
        target: number of each image's target class, shape (B,).
        classes: names of the K classes.
        scale: of effect and control, probability or log_odds.

    Example:
        >>> import torch, dovision as dv
        >>> bright = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> result = dv.effect_map(dv.wrap(bright, ["dark", "bright"]), torch.rand(3, 1, 8, 8), dv.PixelGrid(2, 2))
        >>> result.to_pandas().columns.tolist()
        ['image', 'unit', 'class', 'control', 'treated', 'effect']
        >>> len(result.to_pandas())
        24
        >>> result.plot().axes[0].get_title("left").startswith("image 0, ")
        True
    """

    map: Tensor
    effect: Tensor
    control: Tensor
    units: tuple[str, ...]
    image: Tensor
    target: Tensor
    classes: tuple[str, ...]
    scale: str = SCALES[0]

    def to_pandas(self) -> pd.DataFrame:
        """A row per (image, unit, class): image (its number), unit, class, control, treated, effect."""
        images, units, classes = self.effect.shape
        names = pd.MultiIndex.from_product([range(images), self.units, self.classes], names=["image", "unit", "class"])
        control = self.control.unsqueeze(1).expand_as(self.effect)
        numbers = {"control": control, "treated": control + self.effect, "effect": self.effect}
        columns = {name: value.reshape(images * units * classes).cpu().numpy() for name, value in numbers.items()}
        return names.to_frame(index=False).assign(**columns)

    def plot(self, most: int = 4, colour: bool = False) -> Figure:
        """Plot the first images under their maps: warm where the image speaks for the class, and do(u) lowers it.

        Args:
            most: images side by side.
            colour: show the images in colour, and not in grey.
        """
        from dovision.notebook.drawing import maps_over_images

        titles = [
            f"image {number}, {self.classes[target]} ({self.control[number, target]:.2f})"
            for number, target in enumerate(self.target.tolist())
        ]
        return maps_over_images(self.image[:most], self.map[:most], titles, "minus the effect on the class", colour)

    def _figure(self) -> Figure:
        return self.plot()

    def _title(self) -> str:
        return ", ".join(f"{number:,} {name}" for name, number in self._counts().items())

    def _rows(self) -> pd.DataFrame:
        frame = self.to_pandas()
        targets = frame["image"].map(lambda image: self.classes[int(self.target[image])])
        return frame[frame["class"] == targets].sort_values("effect", key=abs, ascending=False, kind="stable")

    def _counts(self) -> dict[str, int]:
        return dict(zip(("images", "units", "classes"), self.effect.shape, strict=True))


def effect_map(
    classifier: Classifier,
    image: Any,
    intervention: Intervention | str = "pixel_grid",
    target: int | str | Sequence[int | str] | Tensor | None = None,
    label: Any = None,
    chunk: int | str = "auto",
    scale: str = SCALES[0],
    *,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
    seed: int = 0,
) -> EffectResult:
    """Effects of each unit of an intervention, P(y | do(u), x) - P(y | x).

    Calls from several threads take turns. Outputs that look like probabilities are warned of.

    Args:
        classifier: of images in [0, 1]; see `wrap` for a plain torch module.
        image: a few images, as `ImageData` takes them: a tensor, shape (B, C, H, W) in [0, 1], an array, a PIL image, a
            path, ... Or a Batch, whose sample numbers seed its random draws (of a tensor 0, 1, ...).
        intervention: such as PixelGrid(7, 7), or the name of one in `conf/intervention`.
        target: the class whose effects are painted, its name or number, or one for each image in a list or an array;
            None is each image's most probable one.
        label: shape (B,) or (B, K), or names, for interventions that need it (an attack); None is that of the images,
            or the prediction.
        chunk: (image, unit) pairs a pass, 16 at least; "auto" follows from shapes.
        scale: probability, or log_odds, log P/(1 - P), which does not saturate.
        batch_size: images at a time; None: as many as memory allows.
        device, progress: as of `effects`; the numbers stay on the device.
        seed: of what an intervention draws that is given by name.

    Returns:
        The map, evidence for the class, and the numbers behind it. Negative effect: do(u) took evidence away.

    Raises:
        ValueError: an argument is not what it must be (a class in place of an instance, an image out of range, a class
            that does not exist, ...); the network takes no such images, or returns no finite logits of its classes; the
            intervention's site is not in the network, or holds no channels where they are edited.

    Example:
        >>> import torch, dovision as dv
        >>> total = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> result = dv.effect_map(dv.wrap(total, ["dark", "bright"]), torch.rand(1, 1, 4, 4), dv.PixelGrid(2, 2))
        >>> result.map.shape, result.units
        (torch.Size([1, 4, 4]), ('r0c0', 'r0c1', 'r1c0', 'r1c1'))
    """
    checks.choice("scale", scale, SCALES)
    images, task = as_images(image, classifier, batch_size), classifier.task
    edit: Intervention = one_component("intervention", intervention, seed)
    with Running(device, progress).on(classifier), torch.inference_mode(False):  # an attack needs gradients
        batch = _batch_of(images, label, classifier)
        image = batch.image
        targets = None if target is None else task.targets(target, len(image))
        logits, operations = checked_logits(classifier, image)
        predicted = task.prediction(task.probability(logits))
        batch = batch._replace(label=task.label_or_prediction(batch.label, predicted))
        edit = edit.for_images(batch)
        propagation = Propagation(classifier, edit, chunk)
        propagation.prepare_for_call(batch, logits[:1], operations)
        size = batch_size or len(image)
        batches = (batch.rows(slice(first, first + size)) for first in range(0, len(image), size))
        is_short = propagation.engine is not None  # over before a bar could be read
        with DISPLAY.silenced() if is_short else nullcontext(), DISPLAY.stage("effect map", "passes") as shown:
            outcome = Outcome.of_batches([propagation(some, shown.advance) for some in batches])
        logit_checks.measurable(outcome.treated, "logits after the intervention")
        control = effects.evidence(outcome.control, task, scale)
        treated = effects.evidence(outcome.treated, task, scale)
        effect = effects.effect(treated, control.unsqueeze(1).expand_as(treated))
        targets = (outcome.control.argmax(-1) if targets is None else targets).to(effect.device)
        evidence = -effect.take_along_dim(targets.view(-1, 1, 1), dim=2).squeeze(2)
        shape, places = tuple(image.shape[1:]), zip(batch.sample.tolist(), evidence.tolist(), strict=True)
        of_images = [torch.from_numpy(edit.on_pixels(shape, sample, values)) for sample, values in places]
        painted = torch.stack(of_images).to(image)
        return EffectResult(painted, effect, control, outcome.units, image, targets, task.classes, scale)


def _batch_of(data: ImageData, label: Any, classifier: Classifier) -> Batch:
    """Copy images into a Batch on the classifier's device, with labels (unknown if not given) and sample numbers."""
    batch = data.whole(classifier)
    copied = checks.image_batch(batch.image).detach().clone().to(classifier.mean.device)
    if label is not None:
        batch = batch._replace(label=label_tensor(label, len(copied), classifier.task))
    return batch._replace(image=copied, label=batch.label.to(copied.device))
