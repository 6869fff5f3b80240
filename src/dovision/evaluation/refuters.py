"""The callback that measures the headline effects of a run once more, with something altered that should matter."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytorch_lightning as pl
import torch
from torch import Tensor

from dovision.analysis.headline_effects import Headline, headline_effects
from dovision.evaluation.callback import Evaluation
from dovision.evaluation.effects import EffectOptions
from dovision.functional.effects import effect, log_odds_effect
from dovision.functional.estimates import MIN_IMAGES
from dovision.functional.logit_checks import measurable
from dovision.interfaces import Classifier, Intervention
from dovision.interventions.edge_control import EdgeControl, Elsewhere, Repaint, Version, paints
from dovision.interventions.fills import Constant, Mean
from dovision.propagation import Propagation
from dovision.store.map_tables import read_box_table
from dovision.store.refuter_table import OTHER_FILL, PLACEBO, REFUTERS_FILE, UNALTERED
from dovision.store.resumable_writer import ResumableWriter
from dovision.types import Batch

log = logging.getLogger(__name__)


class RefuterEvaluation(Evaluation):
    """Callback that measures headline effects on clean test images as they are, elsewhere, and with another fill.

    The verdicts are those of `analysis.refuters.refutations`. Where the headline is a difference to control units, so
    is what is measured: controls are altered as the unit is, and subtracted. Regions are moved off the known objects
    that the run has written.

    Args:
        folder: of the run's tables.
        intervention, classifier, mean, std: as of `EffectEvaluation`.
        options: of which `measured`, `all_images` and `resume` count.
        seed: of places.
    """

    def __init__(
        self,
        folder: Path,
        intervention: Intervention,
        classifier: Classifier,
        options: EffectOptions | None = None,
        seed: int = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(classifier, mean=mean, std=std, folder=folder)
        self.headlines = headline_effects(folder)
        if not self.headlines:
            log.warning("nothing to refute: refuters need an average effect of at least %d labelled images", MIN_IMAGES)
        self.options = EffectOptions() if options is None else options
        self.only: dict[int, set[str]] = {}
        for headline in self.headlines:
            for sample, units in headline.units.items():
                controls = [control for unit in units for control in headline.controls.get(unit, ())]
                self.only.setdefault(sample, set()).update(units, controls)
        first = refutable(intervention)
        other = copy.copy(first)
        other.fill = Constant(0.0) if isinstance(first.fill, Mean) else Mean()  # type: ignore[attr-defined]
        self.altered = [
            self._altered(other, {OTHER_FILL: Version()}),
            self._altered(first, {UNALTERED: Version(), PLACEBO: Elsewhere(seed)}),
        ]

    def _altered(self, intervention: Intervention, versions: Mapping[str, Version]) -> Repaint:
        repaint = Repaint(intervention, {f" {refuter}": version for refuter, version in versions.items()}, self.only)
        repaint.avoid(read_box_table(self.folder))
        return repaint

    def start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch) -> None:
        network = (self.options.measured or self.classifier).to(pl_module.device)
        self.propagations = [Propagation(network, altered) for altered in self.altered]
        for propagation in self.propagations:
            for images in self.options.all_images or ():
                propagation.prepare(images._replace(image=images.image.to(pl_module.device)))
                if propagation.engine is not None:
                    break
        schemas, device = {REFUTERS_FILE: REFUTERS_FILE.schema()}, (trainer.global_rank, trainer.world_size)
        self.writer = self.opened(ResumableWriter(self.folder, "refuters", schemas, self.options.resume, device))
        self.resumed = self.writer.done
        self.progress = self.stage("refuters", "images", self.images, self.resumed)

    def measure(self, batch: Batch, logits: Tensor, dataloader_idx: int) -> None:
        both = zip(self.altered, self.propagations, strict=True)
        rows = [row for altered, propagation in both for row in self._rows(altered, propagation, batch)]
        rows.sort(key=lambda row: row["sample"])
        self.progress.advance(len(batch.image))
        table = pa.RecordBatch.from_pylist(rows, schema=REFUTERS_FILE.schema())
        self.writer.add(len(batch.image), {REFUTERS_FILE: table}, {})

    def finish(self) -> None:
        self.writer.join()

    def _rows(self, altered: Repaint, propagation: Propagation, batch: Batch) -> Iterator[dict[str, Any]]:
        samples, task = batch.sample.tolist(), self.classifier.task
        if not any(self.only.get(sample) for sample in samples):
            return
        outcome = propagation(batch)
        measurable(outcome.treated, "logits after the intervention")
        control = outcome.control.unsqueeze(1).expand_as(outcome.treated)
        effects = effect(task.probability(outcome.treated), task.probability(control)).cpu()
        on_both = torch.stack([effects, log_odds_effect(outcome.treated, control, task).cpu()], 3)
        columns, shape = {unit: column for column, unit in enumerate(outcome.units)}, tuple(batch.image.shape[1:])

        def mean(headline: Headline, row: int, units: Iterable[str]) -> Tensor | None:
            """Mean effect of the units that the image has, on both scales; None where it has none."""
            numbers = [columns[unit] for unit in units if unit in columns]
            boxes = {unit: altered.on_image(shape, unit, samples[row]) for unit in numbers}
            chosen = [unit for unit, box in boxes.items() if box is None or box.area]
            names = headline.classes.get(samples[row], [headline.label])
            means = torch.stack([on_both[row, chosen, task.classes.index(name)] for name in names]).mean(dim=0)
            return (means.abs() if headline.sizes else means).mean(dim=0) if chosen else None

        for headline, suffix, (row, sample) in itertools.product(self.headlines, altered.versions, enumerate(samples)):
            for unit in headline.units.get(sample, ()):
                number = mean(headline, row, [f"{unit}{suffix}"])
                if number is not None and (controls := headline.controls.get(unit)):
                    of_controls = mean(headline, row, [f"{control}{suffix}" for control in controls])
                    number = None if of_controls is None else number - of_controls
                if number is not None:
                    key = {"sample": sample, "group": int(batch.group[row]), "refuter": suffix.strip(), "unit": unit}
                    of_headline = {"headline": headline.name, "subject": headline.subject, "class": headline.label}
                    numbers = {"effect": float(number[0]), "log_odds_effect": float(number[1])}
                    yield key | of_headline | numbers | {"level": headline.level}


def refutable(intervention: Intervention) -> Intervention:
    """Intervention whose regions can be painted elsewhere, or with another fill: itself, or that which it controls.

    Raises:
        ValueError: it paints no regions with hard edges, acts at two sites, or leaves out positions.
    """
    first = intervention.first if isinstance(intervention, EdgeControl) and not intervention.soft else intervention
    if not paints(first) or first.second is not None or first.shortens:
        raise ValueError(
            "refute needs an intervention at one site that paints regions of the image with hard edges, such as "
            f"PixelGrid, got {type(intervention).__name__}. Set refute=false."
        )
    return first
