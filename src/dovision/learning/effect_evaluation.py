"""The callback that measures effects under `trainer.test`, clean and attacked, and writes them as tables."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from tqdm import tqdm

from dovision.attacks.kept import MAIN
from dovision.contracts import INPUT, Attack, Batch, Box, Classifier, Intervention
from dovision.learning.gradient_health import GradientHealth
from dovision.learning.keeping import Keeper
from dovision.propagation import Outcome, Propagation
from dovision.results.order import by_sample, join_parts, part_path
from dovision.results.pictures import image_path, save_image
from dovision.results.rows import Clean, done_rows, effect_columns, sample_columns, touched
from dovision.results.tables import CLEAN, EFFECTS, SAMPLES, TableWriter, effects_schema, samples_schema

Regions = Sequence[Sequence[Box | None]]  # by image and unit


class World(NamedTuple):
    """One arm of the evaluation: the images as they are, or attacked."""

    arm: str
    eps: float
    batch: Batch
    logits: Tensor  # (B, K) of the classifier under test, in this world


class EffectEvaluation(Callback):
    """Measure effects on each test batch, in the clean world and in that of each epsilon.

    The module under test returns its logits, shape (B, K), from `test_step`.

    Args:
        folder: where samples.parquet, effects.parquet and the maps go.
        classifier: the one under test, which is attacked.
        measured: the classifier in which the effects are measured: the one under test, or that with an autoencoder.
        intervention: do(u).
        attack: of the classifier under test; its epsilons are the arms beside `clean`.
        names: a name per sample of the test split.
        chunk: (image, unit) pairs a pass, or "auto".
        plain_control: compare with the classifier under test instead of `measured` without do(u).
        kept: samples of which the image is kept as a picture.
        keep_attacked: whether all attacked images are kept, as they are.
    """

    def __init__(
        self,
        folder: Path,
        classifier: Classifier,
        measured: Classifier,
        intervention: Intervention,
        attack: Attack,
        names: Sequence[str],
        chunk: int | str,
        plain_control: bool,
        kept: Collection[int],
        keep_attacked: bool = False,
    ) -> None:
        self.folder = folder
        self.classifier = classifier
        self.measured = measured
        self.intervention = intervention
        self.attack = attack
        self.names = names
        self.chunk = chunk
        self.plain_control = plain_control
        self.kept = frozenset(kept)
        self.keep_attacked = keep_attacked and bool(attack.eps)
        self.forward_passes = 0
        self.health = GradientHealth()

    @property
    def attack_facts(self) -> dict[str, Any]:
        """Share of dead gradients, and the attack's forward passes per image by epsilon; empty without an attack."""
        if not self.attack.eps:
            return {}
        queries = {f"{eps:g}": count for eps, count in self.attack.queries.items()}
        return {"dead_gradients": self.health.share, "queries": queries}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.propagation = Propagation(self.measured.to(pl_module.device), self.intervention, self.chunk)
        self.images = len(trainer.test_dataloaders.dataset)  # type: ignore[union-attr]
        self._open = ExitStack()
        self.keeper = self._keeper(trainer.world_size)
        self.samples, self.effects = (
            self._open.enter_context(TableWriter(part_path(path, trainer.global_rank, trainer.world_size), schema))
            for path, schema in self._tables()
        )
        self.progress = self._open.enter_context(tqdm(unit=" passes", disable=not sys.stderr.isatty()))

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.attack.eps:
            self.health.add(batch, self.classifier)
        worlds = list(self.worlds(batch, outputs))
        samples, effects = [], []
        for world in worlds:
            outcome = self._measure(world)
            regions = self._regions(world, len(outcome.units))
            samples.append([self._sample_rows(world, outcome, regions, worlds[0])])
            effects.append(list(self._effect_rows(world, outcome, regions)))
        self.samples.write(by_sample(samples, len(batch.image)))
        self.effects.write(done_rows(by_sample(effects, len(batch.image))))
        self._keep_maps(worlds)
        if self.keeper is not None:
            for world in worlds[1:]:
                self.keeper.add(world.eps, world.batch)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._open.close()
        self.health.warn()
        if trainer.world_size > 1:
            passes = torch.tensor(self.forward_passes, device=pl_module.device)
            self.forward_passes = int(trainer.strategy.reduce(passes, reduce_op="sum"))  # waits for all, too
            if trainer.is_global_zero:
                for path, schema in self._tables():
                    join_parts(path, schema, trainer.world_size)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "_open"):
            self._open.__exit__(type(exception), exception, exception.__traceback__)

    def worlds(self, batch: Batch, logits: Tensor) -> Iterator[World]:
        """The clean arm, then one for each epsilon of the attack."""
        yield World(CLEAN, 0.0, batch, logits)
        for eps in self.attack.eps:
            attacked = batch._replace(image=self.attack(batch, self.classifier, eps))
            yield World(f"eps={eps:g}", eps, attacked, _logits(self.classifier, attacked.image))

    def _keeper(self, devices: int) -> Keeper | None:
        if not self.keep_attacked:
            return None
        if devices > 1:
            raise ValueError(f"evaluation.keep_attacked needs one device, got {devices}. Set trainer.devices=1.")
        return self._open.enter_context(Keeper(self.folder, MAIN, self.attack, self.images))

    def _tables(self) -> list[tuple[Path, pa.Schema]]:
        return [
            (self.folder / SAMPLES, samples_schema(self.classifier.task)),
            (self.folder / EFFECTS, effects_schema()),
        ]

    def _measure(self, world: World) -> Outcome:
        outcome = self.propagation(world.batch, self._count)
        self.progress.total = self.images * (1 + len(self.attack.eps)) * (1 + len(outcome.units))
        return outcome._replace(control=world.logits) if self.plain_control else outcome

    def _regions(self, world: World, units: int) -> Regions:
        """What each unit touches of each image; None where it does not act on the image."""
        shape = tuple(world.batch.image.shape[1:])
        in_image = self.intervention.site == INPUT
        return [
            [self.intervention.region(shape, unit, sample) if in_image else None for unit in range(units)]
            for sample in world.batch.sample.tolist()
        ]

    def _sample_rows(self, world: World, outcome: Outcome, regions: Regions, clean: World) -> pa.RecordBatch:
        attacked = world is not clean
        return sample_columns(
            arm=world.arm,
            eps=world.eps,
            batch=world.batch,
            names=[self.names[sample] for sample in world.batch.sample.tolist()],
            task=self.classifier.task,
            logits=world.logits,
            control_logits=outcome.control,
            treated_logits=outcome.treated,
            clean=Clean(clean.batch.image, self._correct(clean)) if attacked else None,
            logits_8bit=_logits(self.classifier, round_to_8_bits(world.batch.image)) if attacked else None,
            done=touched(regions),
        )

    def _effect_rows(self, world: World, outcome: Outcome, regions: Regions) -> Iterator[pa.RecordBatch]:
        return effect_columns(
            arm=world.arm,
            sample=world.batch.sample,
            units=outcome.units,
            task=self.measured.task,
            control_logits=outcome.control,
            treated_logits=outcome.treated,
            regions=regions,
        )

    def _correct(self, world: World) -> Tensor:
        task = self.classifier.task
        return task.correct(task.probability(world.logits), world.batch.label)

    def _keep_maps(self, worlds: Sequence[World]) -> None:
        for world in worlds:
            for image, sample in zip(world.batch.image, world.batch.sample.tolist(), strict=True):
                if sample in self.kept:
                    save_image(image_path(self.folder, sample, world.arm), image)

    def _count(self, passes: int) -> None:
        self.forward_passes += passes
        self.progress.update(passes)


@torch.no_grad()
def _logits(classifier: Classifier, image: Tensor) -> Tensor:
    return classifier(image)


def round_to_8_bits(image: Tensor) -> Tensor:
    """The image as a file of 8 bits a channel would keep it."""
    return (image * 255).round() / 255
