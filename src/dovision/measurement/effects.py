"""The callback that measures effects under `trainer.test`, clean and attacked, and writes them as tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from dovision import checks
from dovision.attacks.gradients import dead_gradients
from dovision.attacks.none import NoAttack
from dovision.config.row_choices import ALL_ROWS, NAMED_ROWS, REFERENCES, ROW_CHOICES, WITHOUT_AUTOENCODER
from dovision.functional.norms import condition_name
from dovision.interfaces import Attack, Classifier, Intervention
from dovision.interventions.interchange import ClassInterchange
from dovision.interventions.object_cells import ObjectCells
from dovision.measurement.by_name import one_component
from dovision.measurement.callback import Evaluation
from dovision.measurement.condition import Condition, Regions, by_sample, effect_rows, on_cpu, sample_rows, touched
from dovision.measurement.gradient_health import (
    count_dead_gradients,
    count_passes,
    dead_gradient_share,
    queries,
    warn_of_dead_gradients,
)
from dovision.measurement.sets import SetMeasurement
from dovision.propagation import Outcome, Propagation
from dovision.results.average_effect import average_effects
from dovision.results.effect_sums import CELL, SUMS, Cells, merged_sums, sums_columns, sums_schema
from dovision.results.image_tables import SETS_FILE, write_masks, write_sources
from dovision.results.resumable_writer import NO_RESUME, Merge, Resume
from dovision.results.summary import condition_numbers
from dovision.results.tables import (
    CLEAN,
    EFFECTS,
    SAMPLES,
    RunTable,
    effects_schema,
    row_groups,
    samples_schema,
)
from dovision.results.thumbnails import PictureChoice, pictured_samples
from dovision.types import INPUT, Batch, Mask, Shape, Task

log = logging.getLogger(__name__)

MOST_NAMED = 100  # average effects of a condition up to which each is logged


@dataclass(frozen=True)
class EffectOptions:
    """Options of `EffectEvaluation` besides classifier, intervention and attack.

    Args:
        reference: control network: with_autoencoder, or without_autoencoder (the classifier under test).
        rows: the classes of which an image's effects are rows: all, named (labels and predictions, see `named_classes`)
            or none. Averages and their intervals are over all images in any case.
        chunk: (image, unit) pairs a pass, or "auto", which follows from shapes.
        names: a name per sample of the test split; None is its number.
        pictures: chooses the samples of which the image is saved as a picture; None is no sample.
        attacked: called with each epsilon and batch of attacked images, on the device; None: they are not kept.
        all_images: batches from the split's first image on, the first of which that has a unit chooses the engine (see
            `Propagation.prepare`): else the last bits of rows could depend on where a range, or what is left of a
            stopped run, begins. None: the images of the test choose it.
        resume: finished rows of earlier starts.
        objects, ranked: sets of units that are painted together, too, as of `SetMeasurement`.

    Example:
        >>> import dovision as dv
        >>> dv.EffectOptions(rows="named").rows
        'named'
    """

    reference: str = REFERENCES[0]
    rows: str = ALL_ROWS
    chunk: int | str = "auto"
    names: Sequence[str] | None = None
    pictures: PictureChoice | None = None
    attacked: Callable[[float, Batch], object] | None = None
    all_images: Iterable[Batch] | None = None
    resume: Resume = NO_RESUME
    objects: ObjectCells | None = None
    ranked: Collection[int] = ()

    def __post_init__(self) -> None:
        checks.choice("reference", self.reference, REFERENCES)
        checks.choice("rows", self.rows, ROW_CHOICES)


class EffectEvaluation(Evaluation):
    """Callback that measures effects on each test batch, clean and at each epsilon.

    The numbers of each condition in summary.json are logged as METRIC/CONDITION, such as
    mean_abs_expected_effect/clean and success_rate/eps=8/255; average effects, where a condition has few of them, as
    average_effect/CONDITION/UNIT/CLASS. Images that stand in finished chunks of a run that was stopped are not measured
    again.

    Args:
        intervention: do(u), such as PixelGrid(7, 7), or the name of one in `conf/intervention`.
        folder: where samples.parquet, effects.parquet and the maps go; None: the trainer's `log_dir`.
        attack: of the classifier under test, or the name of one; its epsilons are the conditions beside `clean`. None:
            there are none.
        classifier, task, mean, std, network: of the classifier under test, as of `Evaluation`.
        options: how effects are measured and which rows are kept; None: as the defaults of `EffectOptions`.

    Example:
        >>> import pytorch_lightning as pl
        >>> import tempfile
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> import dovision as dv
        >>> classifier, digits = dv.example()
        >>> effects = dv.EffectEvaluation(dv.PixelGrid(2, 2), tempfile.mkdtemp(), classifier=classifier)
        >>> trainer = pl.Trainer(inference_mode=False, callbacks=[effects], logger=False, enable_progress_bar=False)
        >>> class Module(pl.LightningModule):
        ...     def test_step(self, batch, batch_idx):
        ...         pass
        >>> numbers = trainer.test(Module(), DataLoader(TensorDataset(digits.image, digits.label)), verbose=False)
        >>> effects.average_effects["clean"].shape
        torch.Size([4, 10])
    """

    name = "effects"

    def __init__(
        self,
        intervention: Intervention | str = "pixel_grid",
        folder: Path | str | None = None,
        attack: Attack | str | None = None,
        classifier: Classifier | None = None,
        *,
        task: str | Task = "multiclass",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        network: str | None = None,
        options: EffectOptions | None = None,
    ) -> None:
        self.options = EffectOptions() if options is None else options
        super().__init__(classifier, task, mean, std, network, folder, self.options.resume)
        self.intervention: Intervention = one_component("intervention", intervention)
        self.attack: Attack = NoAttack() if attack is None else one_component("attack", attack)
        self.pictures = self.options.pictures or PictureChoice(0, {})

    @property
    def pass_facts(self) -> dict[str, Any]:
        """Costs for run.json: forward passes, skipped edits, and pairs per pass after running out of memory, or None.

        The rows' last bits depend on the latter.
        """
        return {
            "forward_passes": self.counters["forward_passes"],
            "skipped_edits": self.counters["skipped_edits"],
            **self.state(),
        }

    @property
    def needs_gradients(self) -> bool:  # type: ignore[override]  # of a class elsewhere
        """Return whether there is an attack, which may follow them."""
        return bool(self.attack.eps)

    @property
    def attack_facts(self) -> dict[str, Any]:
        """Share of dead gradients, and forward passes per image by epsilon; empty without an attack."""
        if not self.attack.eps:
            return {}
        shares = queries(self.counters, "attack", self.attack)
        return {"dead_gradients": dead_gradient_share(self.counters), "queries": shares}

    @property
    def average_effects(self) -> dict[str, Tensor]:
        """Average effect of each unit on each class, shape (U, K) in [-1, 1], by condition, as of `average_effects`."""
        means = average_effects(self.folder).set_index([*CELL])["mean"].reindex(self.cells.row_index())
        by_condition = torch.tensor(means.to_numpy()).view(self.cells.shape)
        return dict(zip(self.cells.condition, by_condition, strict=True))

    def start(self, batch: Batch) -> None:
        network = self.intervention.network_of(self.classifier).to(self.device)
        self.propagation = Propagation(network, self.intervention, self.options.chunk)
        self.choose_engine(self.propagation, self.options.all_images or ())
        options = self.options
        self.sets = SetMeasurement(network, self.intervention, options.objects, options.ranked, options.chunk)
        conditions = [CLEAN, *map(condition_name, self.attack.eps)]
        self.cells = Cells(tuple(conditions), tuple(self.propagation.units(batch)), tuple(self.classifier.task.classes))
        self.shape: Shape = tuple(batch.image.shape[1:])

    def tables(self) -> dict[RunTable, pa.Schema]:
        effects = {EFFECTS: effects_schema(self.options.rows), SUMS: sums_schema(self.cells)}
        sets = {SETS_FILE: SETS_FILE.schema()} if self.sets.objects or self.sets.ranked else {}
        return {SAMPLES: samples_schema(self.classifier.task), **effects, **sets}

    def state(self) -> dict[str, Any]:
        return {"chunk_limit": self.propagation.allowance.limit}

    def resume(self, state: Mapping[str, Any]) -> None:
        self.propagation.allowance.limit = state["chunk_limit"]
        self.pictures.offer_rows(self.writer.finished(SAMPLES))

    def work(self) -> tuple[str, float | None, float]:
        return "passes", None, self.counters["forward_passes"] + self.counters["skipped_edits"]

    def rows(self, batch: Batch, logits: Tensor, dataloader_idx: int) -> dict[RunTable, pa.RecordBatch]:
        if self.attack.eps:
            count_dead_gradients(self.counters, dead_gradients(self.aimed(batch, logits), self.classifier))
        before = self.attack.passes.copy()
        conditions = list(self.conditions(batch, logits))
        images = len(batch.image)
        count_passes(self.counters, "attack", self.attack.passes - before, images)
        names, task = self.options.names, self.classifier.task
        named = [names[sample] if names else str(sample) for sample in batch.sample.tolist()]
        samples, effects, controls, done, sets = [], [], [], [], [SETS_FILE.schema().empty_table().to_pandas()]
        for condition in conditions:
            outcome, clean = self._outcome(condition), conditions[0]
            regions = self._regions(condition, len(outcome.units))
            done.append(touched(regions))
            rounded = None if condition is clean else self.correct_at_8_bits(condition)
            samples.append(sample_rows(condition, clean, outcome, done[-1], named, task, rounded))
            effects.append(effect_rows(condition.name, batch.sample, outcome, regions, task))
            controls.append(outcome.control)
            if condition is clean:
                sets += self.sets.ranked_rows(condition.name, condition.batch, outcome)
        classes = self._classes(batch, controls)
        sets += [self.sets.object_rows(condition.name, condition.batch, classes) for condition in conditions]
        pictured = {condition.name: condition.batch.image for condition in conditions}
        correct, last = conditions[0].correct, conditions[-1].correct
        turned = (correct & ~last).tolist()
        self.pictures.save(self.folder, batch.sample.tolist(), correct.tolist(), pictured, turned)
        if self.options.attacked is not None:
            for condition in conditions[1:]:
                self.options.attacked(condition.eps, condition.batch)
        every, mask = by_sample(effects, images), torch.stack(done, 1)  # rows of (B, C, U, K); (B, C, U)
        chosen = mask.unsqueeze(-1) & classes[:, None, None]
        joint = SETS_FILE.from_frame(pd.concat(sets).sort_values("sample", kind="stable"))
        return {
            **({SETS_FILE: joint} if self.sets.objects or self.sets.ranked else {}),
            SAMPLES: by_sample(samples, images),
            SUMS: sums_columns(self.cells, batch.group.numpy(), every, mask.numpy()),
            EFFECTS: every.filter(pa.array(chosen.view(-1).numpy())),
        }

    def finish(self) -> None:
        warn_of_dead_gradients(self.counters)
        columns = ["sample", "condition", "correct", "success"]
        self.pictures.keep_chosen_of_all(self.folder, row_groups(self.folder / SAMPLES, columns))
        write_masks(self.folder, self._masks())
        write_sources(self.folder, self._sources())

    def numbers(self) -> dict[str, float]:
        by_condition = condition_numbers(self.folder)
        numbers = {f"{name}/{key}": one.value for key, named in by_condition.items() for name, one in named.items()}
        if self.cells.number <= MOST_NAMED * len(by_condition):
            for row in average_effects(self.folder)[[*CELL, "mean"]].itertuples(index=False):
                numbers["/".join(("average_effect", *row[:3]))] = row[3]
        return numbers

    def merges(self) -> dict[RunTable, Merge]:
        return {SUMS: merged_sums}

    def conditions(self, batch: Batch, logits: Tensor) -> Iterator[Condition]:
        """Iterate over the clean condition and each epsilon of the attack."""
        yield self.condition(CLEAN, 0.0, batch, logits)
        aimed = self.aimed(batch, logits)
        for eps in self.attack.eps:
            attacked = aimed._replace(image=self.attack(aimed, self.classifier, eps))
            yield self.condition("attack", eps, attacked, self.logits(attacked.image))

    def _outcome(self, condition: Condition) -> Outcome:
        outcome = on_cpu(self.propagation(condition.batch, self._count))
        self.counters["skipped_edits"] += outcome.skipped
        self.progress.advance(outcome.skipped)
        self.progress.update(total=self.images * (1 + len(self.attack.eps)) * (1 + len(outcome.units)))
        is_other = self.options.reference == WITHOUT_AUTOENCODER
        return outcome._replace(control=condition.logits) if is_other else outcome

    def _regions(self, condition: Condition, units: int) -> Regions:
        """Box of each unit in each image; None where it has none."""
        shape = tuple(condition.batch.image.shape[1:])
        return [
            [self.intervention.checked_box(self.intervention.on_image, shape, unit, sample) for unit in range(units)]
            for sample in condition.batch.sample.tolist()
        ]

    def _classes(self, batch: Batch, controls: Sequence[Tensor]) -> Tensor:
        """Mask of the classes whose effects on an image are rows, shape (B, K) bool, from logits in each condition."""
        classes = named_classes(self.classifier.task, batch.label, controls)
        return classes if self.options.rows == NAMED_ROWS else torch.full_like(classes, self.options.rows == ALL_ROWS)

    def _masks(self) -> Iterator[tuple[int, str, Mask]]:
        """Masks of the units of pictured images, where units have one."""
        units = self.intervention.units(self.shape) if self.intervention.site == INPUT else ()
        for sample in sorted(pictured_samples(self.folder)):
            for unit, name in enumerate(units):
                box = self.intervention.on_image(self.shape, unit, sample)
                mask = self.intervention.checked_mask(self.shape, unit, sample, box)
                if mask is not None and mask.any():
                    yield sample, name, mask

    def _sources(self) -> Iterator[tuple[int, int, str]]:
        """Source of each image, and its class, of an interchange with images of the split."""
        value, task = getattr(self.intervention, "value", None), self.classifier.task
        if isinstance(value, ClassInterchange) and not task.multilabel:
            tables = row_groups(self.folder / SAMPLES, ["sample"])
            for sample in sorted({sample for table in tables for sample in table["sample"].to_pylist()}):
                source, label = value.labelled_source(sample)
                if label >= 0:
                    yield sample, source, task.classes[label]

    def _count(self, passes: int) -> None:
        self.counters["forward_passes"] += passes
        self.progress.advance(passes)


def named_classes(task: Task, label: Tensor, controls: Sequence[Tensor]) -> Tensor:
    """Mask of an image's labels and of what is predicted in any condition, shape (B, K) bool, on the CPU.

    Args:
        task: the meaning of the classes. A multilabel image of which nothing is predicted has its likeliest class.
        label: shape (B,) or (B, K); of an unknown one there is none.
        controls: logits of the images in each condition, shapes (B, K).
    """
    # An unknown one, -1, is that of no class.
    mask = label == 1 if task.multilabel else label.unsqueeze(1) == torch.arange(controls[0].shape[1])
    for logits in controls:
        probability = task.probability(logits.detach().float().cpu())
        mask = mask.scatter(1, probability.argmax(1, keepdim=True), True)
        if task.multilabel:
            mask |= task.prediction(probability).bool()
    return mask
