"""The callback that measures effects under `trainer.test`, clean and attacked, and writes them as tables."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from tqdm import tqdm

from dovision.attacks.kept import MAIN
from dovision.contracts import INPUT, Attack, Batch, Box, Classifier, Intervention, arm
from dovision.learning.gradient_health import GradientHealth
from dovision.learning.keeping import Keeper
from dovision.learning.queries import Queries
from dovision.propagation import Outcome, Propagation
from dovision.results.order import by_sample
from dovision.results.parts import Parts
from dovision.results.pictures import image_path, save_image
from dovision.results.rows import Clean, done_rows, effect_columns, sample_columns, touched
from dovision.results.tables import CLEAN, EFFECTS, SAMPLES, effects_schema, samples_schema

Regions = Sequence[Sequence[Box | None]]  # by image and unit


class World(NamedTuple):
    """One arm of the evaluation: the images as they are, or attacked."""

    arm: str
    eps: float
    batch: Batch
    logits: Tensor  # (B, K) of the classifier under test, in this world


class EffectEvaluation(Callback):
    """Measure effects on each test batch, in the clean world and in that of each epsilon.

    Images that stand in finished parts of a run that was stopped are not measured again.

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
        flush: images after which their rows are finished on disk.
        origin: what the rows depend on besides the configuration; a change of it is the end of finished parts.
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
        flush: int,
        origin: Mapping[str, Any],
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
        self.flush = flush
        self.origin = origin
        self.forward_passes = 0
        self.queries = Queries(attack)
        self.health = GradientHealth()

    @property
    def attack_facts(self) -> dict[str, Any]:
        """Share of dead gradients, and the attack's forward passes per image by epsilon; empty without an attack."""
        if not self.attack.eps:
            return {}
        return {"dead_gradients": self.health.share, "queries": self.queries.mean}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.propagation = Propagation(self.measured.to(pl_module.device), self.intervention, self.chunk)
        self.images = len(trainer.test_dataloaders.dataset)  # type: ignore[union-attr]
        if self.keep_attacked and trainer.world_size > 1:
            raise ValueError(
                f"evaluation.keep_attacked needs one device, got {trainer.world_size}. Set trainer.devices=1."
            )
        ranks = {"rank": trainer.global_rank, "devices": trainer.world_size}
        self.parts = Parts(self.folder, self._schemas(), self.flush, self._origin(), **ranks)
        self._take_up(self.parts.told)
        self._seen = 0
        self._open = ExitStack()
        self.keeper = (
            self._open.enter_context(Keeper(self.folder, MAIN, self.attack, self.images))
            if self.keep_attacked
            else None
        )
        self.progress = self._open.enter_context(
            tqdm(unit=" passes", initial=self.forward_passes, disable=not sys.stderr.isatty())
        )

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        done, self._seen = self.parts.done - self._seen, self._seen + len(batch.image)
        if done < len(batch.image):
            rest = slice(max(done, 0), None)
            self._evaluate(batch.rows(rest), outputs[rest])

    def _evaluate(self, batch: Batch, logits: Tensor) -> None:
        if self.attack.eps:
            self.health.add(batch, self.classifier)
        worlds = list(self.worlds(batch, logits))
        samples, effects = [], []
        for world in worlds:
            outcome = self._measure(world)
            regions = self._regions(world, len(outcome.units))
            samples.append([self._sample_rows(world, outcome, regions, worlds[0])])
            effects.append(list(self._effect_rows(world, outcome, regions)))
        self._keep_maps(worlds)
        if self.keeper is not None:
            for world in worlds[1:]:
                self.keeper.add(world.eps, world.batch)
        images = len(batch.image)
        self.queries.images += images
        rows = {SAMPLES: by_sample(samples, images), EFFECTS: done_rows(by_sample(effects, images))}
        self.parts.add(images, rows, self._told())

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._open.close()
        self.parts.flush()
        self.health.warn()
        if trainer.world_size > 1:
            passes = torch.tensor(self.forward_passes, device=pl_module.device)
            self.forward_passes = int(trainer.strategy.reduce(passes, reduce_op="sum"))  # waits for all, too
        if trainer.is_global_zero:
            self.parts.join()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "_open"):
            self._open.__exit__(type(exception), exception, exception.__traceback__)
            with suppress(OSError):  # the error that is under way may be that of a full disk
                self.parts.flush()

    def worlds(self, batch: Batch, logits: Tensor) -> Iterator[World]:
        """The clean arm, then one for each epsilon of the attack."""
        yield World(CLEAN, 0.0, batch, logits)
        for eps in self.attack.eps:
            attacked = batch._replace(image=self.attack(batch, self.classifier, eps))
            yield World(arm(eps), eps, attacked, _logits(self.classifier, attacked.image))

    def _origin(self) -> Mapping[str, Any]:
        """What finished parts must share with this start; nothing does where all attacked images are to be kept."""
        return {**self.origin, "start": uuid4().hex} if self.keep_attacked else self.origin

    def _schemas(self) -> dict[str, pa.Schema]:
        return {EFFECTS: effects_schema(), SAMPLES: samples_schema(self.classifier.task)}

    def _told(self) -> dict[str, Any]:
        """Counts over all images so far, which a later start takes up."""
        health = {"dead": self.health.dead, "images": self.health.images}
        return {"forward_passes": self.forward_passes, "health": health, "queries": self.queries.told()}

    def _take_up(self, told: Mapping[str, Any]) -> None:
        if told:
            self.forward_passes = told["forward_passes"]
            self.health.dead, self.health.images = told["health"]["dead"], told["health"]["images"]
            self.queries.take_up(told["queries"])

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
