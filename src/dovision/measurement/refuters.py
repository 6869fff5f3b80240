"""The callback that measures the headline effects of a run once more, with something altered that should matter."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from torch import Tensor

from dovision.functional.effects import effect, log_odds_effect
from dovision.functional.estimates import MIN_IMAGES
from dovision.interfaces import Classifier, Intervention
from dovision.interventions.edge_control import EdgeControl, Elsewhere, Repaint, Version, paints
from dovision.interventions.fills import Constant, Mean
from dovision.measurement.callback import Evaluation
from dovision.measurement.condition import on_cpu
from dovision.propagation import Propagation
from dovision.results.headline_effects import OF_OBJECT, subjects
from dovision.results.image_tables import OTHER_FILL, PLACEBO, RANDOM_WEIGHTS, REFUTERS_FILE, UNALTERED, read_box_table
from dovision.results.resumable_writer import NO_RESUME, Resume
from dovision.results.tables import RunTable
from dovision.training.sanity_checks import cascade
from dovision.types import Batch

log = logging.getLogger(__name__)


class _Trial(NamedTuple):
    """Altered network or intervention."""

    propagation: Propagation
    refuters: Mapping[str, str]  # by the suffix of a version of a unit


@dataclass(frozen=True)
class RefuterOptions:
    """Options of `RefuterEvaluation`.

    Args:
        seed: of places and of random weights.
        all_images: as of `EffectOptions`.
        resume: finished rows of earlier starts.
        objects: sets of units over objects, which are painted again where headlines are of these.
    """

    seed: int = 0
    all_images: Iterable[Batch] = ()
    resume: Resume = NO_RESUME
    objects: Intervention | None = None


class RefuterEvaluation(Evaluation):
    """Callback that measures headline effects on clean test images as they are, and altered.

    In a network with random weights; and, of an intervention that paints, with the region elsewhere, or a fill that the
    run did not use. The verdicts are those of `analysis.refuters.refutations`. Where the headline is a difference to
    control units, so is what is measured: controls are altered as the unit is, and subtracted. Regions are moved off
    the known objects that the run has written.
    """

    name = "refuters"

    def __init__(
        self,
        folder: Path,
        intervention: Intervention,
        classifier: Classifier,
        options: RefuterOptions | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self.options = RefuterOptions() if options is None else options
        super().__init__(classifier, mean=mean, std=std, folder=folder, resume=self.options.resume)
        pairs = [(subject, subject.of_images()) for subject in subjects(folder)]
        self.headlines = [(*pair, *headline) for pair in pairs for headline in pair[0].headlines.items()]
        if not self.headlines:
            log.warning("nothing to refute: refuters need an average effect of at least %d labelled images", MIN_IMAGES)
        of_sets = any(name.startswith(OF_OBJECT) for _, _, name, _ in self.headlines)
        self.intervention = refutable((self.options.objects if of_sets else None) or intervention)
        self.only: dict[int, set[str]] = {}
        for _, images, _, controls in self.headlines:
            for sample, (units, _) in images.items():
                self.only.setdefault(sample, set()).update(units, *(controls.get(unit, ()) for unit in units))

    def start(self, batch: Batch) -> None:
        self.trials = [*self._trials(self.intervention.network_of(self.classifier).to(self.device))]
        for trial in self.trials:
            trial.propagation.classifier.to(self.device)
            self.choose_engine(trial.propagation, self.options.all_images)

    def tables(self) -> dict[RunTable, pa.Schema]:
        return {REFUTERS_FILE: REFUTERS_FILE.schema()}

    def rows(self, batch: Batch, logits: Tensor, dataloader_idx: int) -> dict[RunTable, pa.RecordBatch]:
        rows = [row for trial in self.trials for row in self._rows(trial, batch)]
        rows.sort(key=lambda row: row["sample"])
        self.progress.advance(len(batch.image))
        return {REFUTERS_FILE: pa.RecordBatch.from_pylist(rows, schema=REFUTERS_FILE.schema())}

    def _trials(self, network: Classifier) -> Iterator[_Trial]:
        refuters = {"": UNALTERED}
        if paints(self.intervention):
            refuters[" moved"] = PLACEBO
            other = copy.copy(self.intervention)
            other.fill = Constant(0.0) if isinstance(other.fill, Mean) else Mean()  # type: ignore[attr-defined]
            yield self._trial(network, other, {"": OTHER_FILL})
        yield self._trial(network, self.intervention, refuters)
        *_, random = cascade(network, self.options.seed).values()
        yield self._trial(random, self.intervention, {"": RANDOM_WEIGHTS})

    def _trial(self, classifier: Classifier, intervention: Intervention, refuters: Mapping[str, str]) -> _Trial:
        versions = {suffix: Elsewhere(self.options.seed) if suffix else Version() for suffix in refuters}
        repaint = Repaint(intervention, versions, self.only)
        repaint.avoid(read_box_table(self.folder))
        return _Trial(Propagation(classifier, repaint), refuters)

    def _rows(self, trial: _Trial, batch: Batch) -> Iterator[dict[str, Any]]:
        samples, task = batch.sample.tolist(), self.classifier.task
        if not any(self.only.get(sample) for sample in samples):
            return
        outcome = on_cpu(trial.propagation(batch))
        control = outcome.control.unsqueeze(1).expand_as(outcome.treated)
        effects = effect(task.probability(outcome.treated), task.probability(control))
        log_odds = log_odds_effect(outcome.treated, control, task)
        on_both = torch.stack([effects, log_odds], 3)
        columns, shape = {unit: column for column, unit in enumerate(outcome.units)}, tuple(batch.image.shape[1:])

        def mean(row: int, units: Iterable[str], classes: Iterable[str], sizes: bool) -> Tensor | None:
            """Mean effect of the units that the image has, on both scales; None where it has none."""
            numbers = [columns[unit] for unit in units if unit in columns]
            boxes = {unit: trial.propagation.intervention.on_image(shape, unit, samples[row]) for unit in numbers}
            chosen = [unit for unit, box in boxes.items() if box is None or box.area]
            means = torch.stack([on_both[row, chosen, task.classes.index(name)] for name in classes]).mean(dim=0)
            return (means.abs() if sizes else means).mean(dim=0) if chosen else None

        for (subject, images, name, controls), (suffix, refuter) in itertools.product(
            self.headlines, trial.refuters.items()
        ):
            for row, sample in enumerate(samples):
                units, classes = images.get(sample, ((), ()))
                for unit in units:
                    number = mean(row, [f"{unit}{suffix}"], classes, subject.sizes)
                    if number is not None and controls.get(unit):
                        others = [f"{control}{suffix}" for control in controls[unit]]
                        of_controls = mean(row, others, classes, subject.sizes)
                        number = None if of_controls is None else number - of_controls
                    if number is not None:
                        yield {
                            "sample": sample,
                            "group": int(batch.group[row]),
                            "headline": name,
                            "refuter": refuter,
                            "subject": subject.name,
                            "unit": unit,
                            "class": subject.of,
                            "level": subject.level,
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
