"""The callback that measures the headline effects of a run once more, with something altered that should matter."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pytorch_lightning as pl
import torch
from torch import Tensor

from dovision.analysis.headline_effects import Headline
from dovision.evaluation.callback import Evaluation
from dovision.functional.effects import effect, log_odds_effect
from dovision.functional.estimates import MIN_IMAGES
from dovision.functional.logit_checks import measurable
from dovision.interfaces import Classifier, Intervention
from dovision.interventions.edge_control import EdgeControl, Elsewhere, Frame, Repaint, Version, paints
from dovision.interventions.fills import Constant, Mean
from dovision.propagation import Propagation
from dovision.store.refuter_table import (
    FRAME_ONLY,
    HALF_DOSE,
    OTHER_FILL,
    PERMUTED_LABELS,
    PLACEBO,
    RANDOM_WEIGHTS,
    REFUTERS_FILE,
    UNALTERED,
)
from dovision.store.resumable_writer import NO_RESUME, ResumableWriter, Resume
from dovision.training.sanity_checks import cascade
from dovision.types import Batch

log = logging.getLogger(__name__)

FRAME_SHARE = 100  # pixels of a side of the image for each pixel of the frame's width, which is 1 at least


class _Trial(NamedTuple):
    """Altered network or intervention, and the refuter that each of its versions of a unit is, by suffix."""

    propagation: Propagation
    refuters: Mapping[str, str]


@dataclass(frozen=True)
class RefuterOptions:
    """Options of `RefuterEvaluation` besides the headlines and the intervention.

    Args:
        network: the classifier in which effects are measured, such as that with an autoencoder; None: the one under
            test.
        permuted: a classifier of the same data that was fitted to permuted labels, or None.
        boxes: of known objects, as `Images.boxes` has them, which placebo regions avoid; None where none is known.
        seed: of places and of random weights.
        all_images: as of `EffectOptions`.
        resume: finished rows of earlier starts.
    """

    network: Classifier | None = None
    permuted: Classifier | None = None
    boxes: pd.DataFrame | None = None
    seed: int = 0
    all_images: Iterable[Batch] = ()
    resume: Resume = NO_RESUME


class RefuterEvaluation(Evaluation):
    """Callback that measures headline effects on clean test images as they are, and altered.

    With half of the dose; in a network with random weights, and in one that was fitted to permuted labels; and, of an
    intervention that paints, with the region elsewhere, its frame alone, or a fill that the run did not use. The
    verdicts are those of `analysis.refuters.refutations`. Where the headline is a difference to control units, so is
    what is measured: controls are altered as the unit is, and subtracted.
    """

    def __init__(
        self,
        folder: Path,
        headlines: Sequence[Headline],
        intervention: Intervention,
        classifier: Classifier,
        options: RefuterOptions | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(classifier, mean=mean, std=std, folder=folder)
        if not headlines:
            log.warning("nothing to refute: refuters need an average effect of at least %d labelled images", MIN_IMAGES)
        self.headlines = headlines
        self.intervention = refutable(intervention)
        self.options = RefuterOptions() if options is None else options
        self.only: dict[int, set[str]] = {}
        for headline in headlines:
            for sample, units in headline.units.items():
                controls = [control for unit in units for control in headline.controls.get(unit, ())]
                self.only.setdefault(sample, set()).update(units, controls)

    def start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch) -> None:
        device, side = (trainer.global_rank, trainer.world_size), min(batch.image.shape[2:])
        network = (self.options.network or self.classifier).to(pl_module.device)
        self.trials = [*self._trials(network, max(1, round(side / FRAME_SHARE)))]
        for trial in self.trials:
            trial.propagation.classifier.to(pl_module.device)
            for images in self.options.all_images:
                trial.propagation.prepare(images._replace(image=images.image.to(pl_module.device)))
                if trial.propagation.engine is not None:
                    break
        schemas = {REFUTERS_FILE: REFUTERS_FILE.schema()}
        self.writer = self.opened(ResumableWriter(self.folder, "refuters", schemas, self.options.resume, device))
        self.resumed = self.writer.done
        self.progress = self.stage("refuters", "images", self.images, self.resumed)

    def measure(self, batch: Batch, logits: Tensor, dataloader_idx: int) -> None:
        rows = [row for trial in self.trials for row in self._rows(trial, batch)]
        rows.sort(key=lambda row: row["sample"])
        self.progress.advance(len(batch.image))
        table = pa.RecordBatch.from_pylist(rows, schema=REFUTERS_FILE.schema())
        self.writer.add(len(batch.image), {REFUTERS_FILE: table}, {})

    def finish(self) -> None:
        self.writer.join()

    def _trials(self, network: Classifier, frame: int) -> Iterator[_Trial]:
        versions: dict[str, tuple[str, Version]] = {"": (UNALTERED, Version()), " half": (HALF_DOSE, Version(0.5))}
        if paints(self.intervention):
            versions |= {
                " moved": (PLACEBO, Elsewhere(self.options.seed)),
                " frame": (FRAME_ONLY, Frame(frame)),
            }
            other = copy.copy(self.intervention)
            other.fill = Constant(0.0) if isinstance(other.fill, Mean) else Mean()  # type: ignore[attr-defined]
            yield self._trial(network, other, {"": (OTHER_FILL, Version())})
        yield self._trial(network, self.intervention, versions)
        *_, random = cascade(network, self.options.seed).values()
        as_is = Version()
        yield self._trial(random, self.intervention, {"": (RANDOM_WEIGHTS, as_is)})
        if self.options.permuted is not None and not self.intervention.on_code:
            yield self._trial(self.options.permuted, self.intervention, {"": (PERMUTED_LABELS, as_is)})

    def _trial(
        self, classifier: Classifier, intervention: Intervention, versions: Mapping[str, tuple[str, Version]]
    ) -> _Trial:
        repaint = Repaint(intervention, {suffix: version for suffix, (_, version) in versions.items()}, self.only)
        if self.options.boxes is not None:
            repaint.avoid(self.options.boxes)
        return _Trial(Propagation(classifier, repaint), {suffix: name for suffix, (name, _) in versions.items()})

    def _rows(self, trial: _Trial, batch: Batch) -> Iterator[dict[str, Any]]:
        samples, task = batch.sample.tolist(), self.classifier.task
        if not any(self.only.get(sample) for sample in samples):
            return
        outcome = trial.propagation(batch)
        measurable(outcome.treated, "logits after the intervention")
        control = outcome.control.unsqueeze(1).expand_as(outcome.treated)
        effects = effect(task.probability(outcome.treated), task.probability(control)).cpu()
        log_odds = log_odds_effect(outcome.treated, control, task).cpu()
        on_both = torch.stack([effects, log_odds], 3)
        columns, shape = {unit: column for column, unit in enumerate(outcome.units)}, tuple(batch.image.shape[1:])

        def mean(headline: Headline, row: int, units: Iterable[str]) -> Tensor | None:
            """Mean effect of the units that the image has, on both scales; None where it has none."""
            numbers = [columns[unit] for unit in units if unit in columns]
            boxes = {unit: trial.propagation.intervention.on_image(shape, unit, samples[row]) for unit in numbers}
            chosen = [unit for unit, box in boxes.items() if box is None or box.area]
            names = headline.classes.get(samples[row], [headline.label])
            means = torch.stack([on_both[row, chosen, task.classes.index(name)] for name in names]).mean(dim=0)
            return (means.abs() if headline.sizes else means).mean(dim=0) if chosen else None

        for headline, (suffix, refuter) in itertools.product(self.headlines, trial.refuters.items()):
            for row, sample in enumerate(samples):
                for unit in headline.units.get(sample, ()):
                    number = mean(headline, row, [f"{unit}{suffix}"])
                    if number is not None and (controls := headline.controls.get(unit)):
                        of_controls = mean(headline, row, [f"{control}{suffix}" for control in controls])
                        number = None if of_controls is None else number - of_controls
                    if number is not None:
                        yield {
                            "sample": sample,
                            "group": int(batch.group[row]),
                            "headline": headline.name,
                            "refuter": refuter,
                            "subject": headline.subject,
                            "unit": unit,
                            "class": headline.label,
                            "level": headline.level,
                            "effect": float(number[0]),
                            "log_odds_effect": float(number[1]),
                        }


def refutable(intervention: Intervention) -> Intervention:
    """Intervention of whose units a run can measure altered versions: itself, or that whose edges it controls.

    Raises:
        ValueError: it acts at two sites, or leaves out positions.
    """
    if isinstance(intervention, EdgeControl) and not intervention.soft:
        return intervention.first
    if intervention.second is not None or intervention.shortens:
        raise ValueError(
            "refute needs an intervention at one site that leaves out no positions, got "
            f"{type(intervention).__name__}. Set refute=false."
        )
    return intervention
