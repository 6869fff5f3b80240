"""Attacks on whole data sets: the images, and how far the attack succeeds, with intervals."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.functional.estimates import FEW_IMAGES
from dovision.functional.intervals import NOT_MEASURED
from dovision.interfaces import Attack, Classifier
from dovision.notebook.image_data import as_images
from dovision.notebook.measuring import WHOLE_IMAGE, ResultFolder, check_components, measured_run, one_attack
from dovision.notebook.results import MeasuredImages
from dovision.notebook.running import Running
from dovision.results.effect_findings import attack_success
from dovision.results.finding import Finding
from dovision.results.run_record import Run
from dovision.results.tables import CLEAN, read_task
from dovision.results.thumbnails import samples_in_conditions
from dovision.types import Batch, Epsilons, Shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PICTURES = 4  # side by side
_SHARES = ("success_rate", "success_8bit", "robust_accuracy", "accuracy")  # of a condition, in its table
_COLUMNS = ("success", "success_8bit", "correct", "correct")  # of samples, behind these


class AttackedImages(MeasuredImages):
    """Attacked images by epsilon, and the attack's success.

    Args:
        run, folder: as of `MeasuredImages`.
        made: the attack.
        attacked: batches of attacked images by epsilon, on the processor.

    Example:
        >>> import torch, dovision as dv
        >>> classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), ["a", "b", "c"])
        >>> result = dv.attack(classifier, torch.rand(12, 1, 8, 8), dv.FGSM(eps=["4/255", "8/255"]))
        >>> result.images("8/255").shape
        torch.Size([12, 1, 8, 8])
        >>> result.to_pandas()["condition"].unique().tolist()
        ['eps=4/255', 'eps=8/255']
    """

    drawing = ("results",)  # there are no effects of units that anyone has asked for

    def __init__(self, run: Run, folder: ResultFolder, made: Attack, attacked: Mapping[float, Sequence[Batch]]) -> None:
        super().__init__(run, folder)
        self.eps = made.eps
        self.norm = made.norm
        self._attacked = attacked

    def to_pandas(self) -> pd.DataFrame:
        """A row per (condition, metric): estimate, low, high, reason, images, of success_rate, robust_accuracy, ...

        success_rate: share of images that were right before and are wrong after, with any other class, also where one
        is the target; success_8bit: the same after rounding to 8 bits; robust_accuracy: share right before and after.
        """
        rows, counts = [], self.samples.groupby("condition", observed=True).count()
        for condition, numbers in self.summary["conditions"].items():
            for metric, column in zip(_SHARES, _COLUMNS, strict=True) if condition != CLEAN else ():
                reason = FEW_IMAGES if np.any(counts.loc[condition, column]) else NOT_MEASURED
                share = numbers[metric] or dict.fromkeys(("estimate", "low", "high"), np.nan) | {"reason": reason}
                columns = {name: share.get(name) for name in ("estimate", "low", "high", "reason")}
                rows.append({"condition": condition, "metric": metric, **columns, "images": numbers["images"]})
        return pd.DataFrame(rows)

    def _findings(self) -> Iterable[Finding]:
        return attack_success(self.run)

    def _figure(self) -> Figure | None:
        """Clean images above attacked ones with their predictions; bold where the attack succeeded."""
        from dovision.notebook.drawing import pictures_by_condition

        samples, names = self.samples, read_task(self.folder).classes
        conditions = list(samples["condition"].unique())
        shown = samples[samples["sample"].isin(samples_in_conditions(self.folder, conditions)[:_PICTURES])]
        return pictures_by_condition(shown, self.folder, names) if len(shown) else None

    def images(self, eps: float | str | None = None) -> Tensor:
        """Attacked images, shape (N, C, H, W), in [0, 1], in the order of `samples`; input of other functions.

        Args:
            eps: one of the attack's epsilons; None: where there is only one.

        Raises:
            ValueError: the attack had no such epsilon, or several and none is named.
        """
        return self.batch(eps).image

    def batch(self, eps: float | str | None = None) -> Batch:
        """Attacked images with labels, sample numbers and groups; arguments and errors as of `images`."""
        wanted = self.eps[0] if eps is None else checks.number("eps", eps)
        if wanted not in self.eps or (eps is None and len(self.eps) > 1):
            rule = "name" if eps is None else "be"
            names = ", ".join(f"{epsilon:g}" for epsilon in self.eps)
            raise ValueError(f"eps must {rule} one of the attack's epsilons, {names}, got {eps!r}.")
        image, _, sample, group = (torch.cat(fields) for fields in zip(*self._attacked[wanted], strict=True))
        clean = self.samples[self.samples["condition"] == CLEAN].set_index("sample")["label"]
        label = torch.tensor(np.stack(clean.loc[sample.numpy()].tolist()))
        return Batch(image, label if label.ndim == 1 else label.float(), sample, group)


class TargetedAttack(Attack):
    """Attack towards a class of each image's own.

    Args:
        attack: with an argument `target`, such as PGD.
        targets: number of the class by sample.
    """

    def __init__(self, attack: Attack, targets: Mapping[int, int]) -> None:
        self.norms = (attack.norm,)  # type: ignore[misc]
        super().__init__(list(attack.eps), attack.norm)
        self.targets = targets
        self.attacks = {number: attack.replaced(target=number) for number in sorted({*targets.values()})}

    def check(self, classifier: Classifier, shape: Shape) -> None:
        for attack in self.attacks.values():
            attack.check(classifier, shape)

    def run(self, batch: Batch, classifier: Classifier, eps: float) -> Tensor:
        image, targets = batch.image.clone(), torch.tensor([self.targets[sample] for sample in batch.sample.tolist()])
        for number in {*targets.tolist()}:
            rows = (targets == number).nonzero().squeeze(1)
            image[rows] = self.attacks[number](batch.rows(rows), classifier, eps)
        return image


def attack(
    classifier: Classifier,
    data: Any,
    attack: Attack | str,
    eps: Epsilons | None = None,
    seed: int = 0,
    folder: Path | str | None = None,
    *,
    target: int | str | Sequence[int | str] | Tensor | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> AttackedImages:
    """Attack a data set at one or several epsilons.

    Images, success and intervals are those of `dovision-evaluate attack=...`, made by its callback and its tables.

    Args:
        classifier: of images in [0, 1]; see `wrap` for a plain torch module.
        data: images, see `ImageData`. Without labels the attack is on what is predicted.
        attack: such as PGD(eps="8/255", steps=20), or the name of one in `conf/attack`.
        eps: of an attack given by name: one or several, in pixel units, numbers or fractions such as "8/255"; None:
            those of its yaml file.
        seed: of what an attack draws that is given by name.
        folder: where tables go; None: a temporary folder, which goes with the result. Images are held in memory.
        target: the class that is to be predicted, its name or number, or one for each image in a list or an array, by
            an attack with an argument `target`, such as PGD; None: as the attack has it.
        batch_size, device, progress: as of `effects`.

    Returns:
        The attacked images, and success with intervals.

    Raises:
        ValueError: an argument is not what it must be; eps is given beside an attack that has its own; the attack does
            not fit the network.

    Example:
        >>> import torch, dovision as dv
        >>> classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), ["a", "b", "c"])
        >>> result = dv.attack(classifier, torch.rand(6, 1, 8, 8), "pgd", eps="8/255")
        >>> result.images().shape
        torch.Size([6, 1, 8, 8])
    """
    images, made = as_images(data, classifier, batch_size), one_attack(attack, eps, seed)
    if not made.eps:
        raise ValueError("attack must have an epsilon, got none. Name an attack, such as 'pgd'.")
    if target is not None:
        if "target" not in inspect.signature(type(made)).parameters:
            raise ValueError(f"attack must have a target, got {type(made).__name__}. Choose another, such as PGD.")
        targets = images.targets(target, classifier.task)
        made = made.replaced(target=targets) if isinstance(targets, str) else TargetedAttack(made, targets)
    check_components(classifier, images.shape(classifier), made)
    written, running = ResultFolder(folder), Running(device, progress)
    attacked: dict[float, list[Batch]] = {each: [] for each in made.eps}

    def keep(epsilon: float, batch: Batch) -> None:
        attacked[epsilon].append(Batch(*(field.detach().cpu() for field in batch)))

    run = measured_run(classifier, images, WHOLE_IMAGE, made, written, running, attacked=keep)
    return AttackedImages(run, written, made, attacked)
