"""Effects over whole data sets, with intervals: what dovision-evaluate measures, in a call."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.attacks.none import NoAttack
from dovision.config.row_choices import ALL_ROWS, ROW_CHOICES
from dovision.functional.intervals import EFFECT_BOUNDS
from dovision.interfaces import Attack, Classifier, Intervention
from dovision.measurement.by_name import one_component
from dovision.notebook.image_data import as_images
from dovision.notebook.measuring import ResultFolder, measured_run, one_attack
from dovision.notebook.results import MeasuredImages
from dovision.notebook.running import Running
from dovision.results.average_effect import average_effects, grouped_means
from dovision.results.effect_sums import CELL
from dovision.results.refuters import refutations
from dovision.results.run_record import Run
from dovision.results.tables import read_effects, read_groups
from dovision.types import Epsilons


class MeasuredEffects(MeasuredImages):
    """Effects of an intervention on many images, clean and attacked.

    Args:
        run, folder: as of `MeasuredImages`.
        target: the class whose effects the table has, or one by sample; None: all.

    Example:
        >>> import torch, dovision as dv
        >>> classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)), ["dark", "bright"])
        >>> result = dv.effects(classifier, torch.rand(40, 1, 8, 8), dv.PixelGrid(2, 2), target="bright")
        >>> result.to_pandas()[["condition", "unit", "class"]].iloc[0].tolist()
        ['clean', 'r0c0', 'bright']
        >>> sorted(result.to_pandas().columns)[:5]
        ['class', 'clusters', 'condition', 'high', 'images']
        >>> len(result.rows([0, 1]))
        16
    """

    columns = (
        *("condition", "unit", "class", "log_odds", "log_odds_low", "log_odds_high", "mean", "low", "high"),
        *("share_beyond", "share_beyond_low", "share_beyond_high", "images"),
    )

    def __init__(self, run: Run, folder: ResultFolder, target: str | Mapping[int, str] | None = None) -> None:
        super().__init__(run, folder)
        self.target = target

    def to_pandas(self) -> pd.DataFrame:
        """Average effects: a row per (condition, unit, class) with mean in [-1, 1], log_odds, share_beyond, images.

        Intervals are over groups (patients), of level .95; `reason` says why there is none. Whether an effect differs
        from 0 is what log_odds_p tests. With a target only the rows of that class. All columns: `average_effects`; with
        a target for each image mean, log_odds, their intervals and images, of the class "target".
        """
        if isinstance(self.target, Mapping):
            rows = read_effects(self.folder, list(self.target))
            rows = rows[rows["class"] == rows["sample"].map(self.target)]
            rows = rows.assign(group=rows["sample"].map(read_groups(self.folder)), **{"class": "target"})
            rows = rows.rename(columns={"effect": "mean", "log_odds_effect": "log_odds"})
            frame = grouped_means(rows, [*CELL], ["mean", "log_odds"], bounds={"mean": EFFECT_BOUNDS})
            return frame.rename(columns={f"mean_{end}": end for end in ("low", "high", "reason")})
        frame = average_effects(self.folder)
        return frame if self.target is None else frame[frame["class"] == self.target].reset_index(drop=True)

    def _rows(self) -> pd.DataFrame:
        return self.to_pandas().sort_values("log_odds", key=abs, ascending=False, kind="stable")

    @property
    def refuters(self) -> pd.DataFrame:
        """Verdicts of the refuters on the headline effects, with refute=True: see `refutations`."""
        return refutations(self.folder)

    def rows(self, samples: Collection[int]) -> pd.DataFrame:
        """Rows of effects.parquet of some samples: control, treated, effect by sample, condition, unit, class.

        Of the classes that `rows` chooses alone.

        Args:
            samples: their numbers, from 0.
        """
        return read_effects(self.folder, samples)


def effects(
    classifier: Classifier,
    data: Any,
    intervention: Intervention | str = "pixel_grid",
    attack: Attack | str | None = None,
    eps: Epsilons | None = None,
    target: int | str | Sequence[int | str] | Tensor | None = None,
    folder: Path | str | None = None,
    rows: str = ALL_ROWS,
    refute: bool = False,
    *,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
    seed: int = 0,
) -> MeasuredEffects:
    """Measure the effects of each unit on each class over a data set, with intervals, clean and attacked.

    The numbers are those of `dovision-evaluate`, made by its callback and its tables.

    Args:
        classifier: of images in [0, 1]; see `wrap` for a plain torch module.
        data: images, see `ImageData`, which also says how many of which split: tensors, arrays, PIL images, paths,
            pairs of images and labels, a DataLoader, a dataset of PyTorch, Hugging Face or dovision.
        intervention: do(u), such as PixelGrid(7, 7), or the name of one in `conf/intervention`.
        attack: whose epsilons are conditions beside the clean one: such as FGSM(eps="8/255"), or a name; None: none.
        eps: of an attack given by name: one or several, in pixel units, numbers or fractions such as "8/255".
        target: the name or number of the class whose effects the table shows, or one for each image in a list or an
            array; None: of all classes.
        folder: where tables and pictures go; None: a temporary folder, which goes with the result.
        rows: the classes of which an image's effects are rows: all, named (labels and what is predicted in any
            condition) or none; averages and intervals are the same.
        refute: whether the headline effects are measured once more with something altered that should matter, such as
            the region, the fill or the weights; `refuters` of the result has the verdicts, and its sentences say so.
        batch_size: images at a time; None: that of a DataLoader or of ImageData, or 64.
        device: such as "cuda", to which the classifier is taken meanwhile; None: its own.
        progress: whether progress is shown, where there is a terminal or a notebook.
        seed: of what an intervention or an attack draws that is given by name.

    Returns:
        Average effects with intervals, headline numbers, sentences and figures.

    Raises:
        ValueError: an argument is not what it must be; the images are none of the network's; there is no such class.

    Example:
        >>> import torch, dovision as dv
        >>> classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), ["a", "b", "c"])
        >>> data = torch.rand(30, 1, 8, 8), torch.arange(30) % 3
        >>> result = dv.effects(classifier, data, dv.PixelGrid(2, 2), attack="fgsm", eps="8/255")
        >>> result
        MeasuredEffects(images=30, conditions=['clean', 'eps=8/255'])
        >>> len(result.to_pandas())
        24
        >>> few = dv.effects(classifier, data, dv.PixelGrid(2, 2), rows="none")
        >>> len(few.rows(range(30))), len(few.to_pandas())
        (0, 12)
    """
    checks.choice("rows", rows, ROW_CHOICES)
    images, task = as_images(data, classifier, batch_size), classifier.task
    made = one_component("intervention", intervention, seed)
    name: Any = None if target is None else images.targets(target, task)
    if isinstance(name, Mapping):
        checks.choice("rows (with a target for each image)", rows, (ALL_ROWS,))
        name = {sample: task.classes[number] for sample, number in name.items()}
    attacking = NoAttack() if attack is None and eps is None else one_attack(attack, eps, seed)
    written, running = ResultFolder(folder), Running(device, progress)
    run = measured_run(classifier, images, made, attacking, written, running, rows=rows, refute=refute)
    return MeasuredEffects(run, written, name)
