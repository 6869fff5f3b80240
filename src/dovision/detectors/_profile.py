"""Effects of interventions on one image, as numbers that separate attacked images from clean ones."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dovision import checks
from dovision.detectors._outputs import cached, logits_of
from dovision.functional.effects import SCALES, evidence
from dovision.interfaces import Classifier, Intervention
from dovision.propagation import CachedPropagation, Outcome, Propagation
from dovision.propagation.edits import all_pairs
from dovision.propagation.whole_passes import CleanPass
from dovision.types import INPUT, Batch

PAIRS = 128  # edited images that share a whole pass; more fall out of a processor's cache


class Profile:
    """Effects of each unit of each intervention on the predicted class.

    Multilabel: on every label. Not weighted by its probability, as the expected effect is: an attack hides what was
    predicted as often as it makes something up, and effects on labels that are not predicted would vanish.

    Without gradients, only what descends from an edit is recomputed; images that require a gradient go through whole
    passes, one a unit (see `Detector.read_views`), that are computed again on the way back, so that memory holds one of
    them. Both agree. Edits of whole images take whole passes, and share the pass of the image as it is.

    Args:
        interventions: by name; those on a code are measured in the classifier with its autoencoder.
        scale: probability or log_odds.
    """

    def __init__(self, interventions: Mapping[str, Intervention], scale: str) -> None:
        self.interventions = dict(checks.nonempty("interventions", interventions))
        self.scale = checks.choice("scale", scale, SCALES)
        self.reads_code = any(intervention.on_code for intervention in self.interventions.values())
        self.passes = 0  # forward passes an image, known after the first
        self._propagations = {
            name: CachedPropagation(intervention) for name, intervention in self.interventions.items()
        }
        self._kinds = {
            name: pickle.dumps(intervention) for name, intervention in self.interventions.items()
        }  # equal for equal parts

    def __call__(self, batch: Batch, classifier: Classifier) -> list[Tensor]:
        """Effects, shape (B, units, 1), or (B, units, K) for multilabel, of each intervention."""
        task = classifier.task
        predicted, outcomes = self.outcomes(batch, classifier)
        changes = [
            evidence(outcome.treated, task, self.scale) - evidence(outcome.control.unsqueeze(1), task, self.scale)
            for outcome in outcomes
        ]
        if task.multilabel:
            return changes
        return [change.take_along_dim(predicted.view(-1, 1, 1), dim=2) for change in changes]

    def outcomes(self, batch: Batch, classifier: Classifier) -> tuple[Tensor, list[Outcome]]:
        """The prediction, shape (B,), or (B, K) for multilabel, and the logits of each intervention."""
        control = logits_of(batch.image, classifier)
        predicted = classifier.task.prediction(classifier.task.probability(control.detach()))
        unlabelled = batch._replace(label=predicted.to(batch.label.dtype))  # that of the data is nobody's business
        outcomes, self.passes = [], 1
        for name, intervention in self.interventions.items():
            on_whole = edits_whole_images(intervention, batch)
            network = intervention.network_of(classifier)
            outcome, passes = self._outcome(name, unlabelled, network, control if on_whole else None)
            outcomes.append(outcome)
            self.passes += passes + (not on_whole)
        return predicted, outcomes

    def _outcome(self, name: str, batch: Batch, network: Classifier, control: Tensor | None) -> tuple[Outcome, int]:
        """Outcome of an intervention, and the forward passes that its edits take of an image."""
        propagation = self._propagations[name](network)
        if batch.image.requires_grad and torch.is_grad_enabled():
            return whole_passes(batch, propagation, control)

        def run() -> tuple[Outcome, int]:
            if control is not None:
                return whole_passes(batch, propagation, control)
            outcome = propagation(batch)
            return outcome, len(outcome.units) if propagation.engine else 0  # None: no unit is there

        key = (self._kinds[name], self._propagations[name].stamp, *batch.sample.tolist())
        with torch.no_grad():
            return cached(batch.image, key, run)


def edits_whole_images(intervention: Intervention, batch: Batch) -> bool:
    """Return whether every edit changes the whole image, so that clean values cannot be reused."""
    if intervention.site != INPUT or intervention.second or intervention.shortens:
        return False
    shape = tuple(batch.image.shape[1:])
    units = range(len(intervention.units(shape)))
    return all(intervention.region(shape, unit, sample) is None for unit in units for sample in batch.sample.tolist())


def whole_passes(batch: Batch, propagation: Propagation, control: Tensor | None = None) -> tuple[Outcome, int]:
    """Outcome as of a Propagation, differentiable with respect to the images, and the passes of an image's edits.

    Args:
        control: logits of the images, shape (B, K), if they are known; for edits of the image alone.
    """
    engine, intervention = propagation.whole_passes(batch), propagation.intervention
    clean = engine.clean(batch.image) if control is None else CleanPass(batch.image, control)
    shape = tuple(clean.site.shape[1:])
    units = intervention.units(shape)
    treated = clean.control.unsqueeze(1).repeat(1, len(units), 1)
    context = propagation.context(engine, batch)
    streams = all_pairs(intervention, units, batch.sample.tolist(), shape)
    if batch.image.requires_grad and torch.is_grad_enabled():
        by_unit = (stream.chosen(stream.unit == unit) for unit in range(len(units)) for stream in streams)
        chunks = [pairs for pairs in by_unit if len(pairs)]
    else:
        chunks = [chunk for stream in streams for chunk in stream.batches(PAIRS)]
    for pairs in chunks:
        edits = clean, pairs, intervention, context
        held = sum(map(len, chunks)) <= PAIRS  # in memory until the way back
        logits = engine.treated(*edits) if held else checkpoint(engine.treated, *edits, use_reentrant=False)
        treated[pairs.image, pairs.unit] = logits
    return Outcome(units, clean.control, treated), len(units)


def summaries(effect: Tensor) -> Tensor:
    """Statistics over units: mean, mean size, standard deviation, minimum, maximum; (B, units, C) to (B, 5 C)."""
    return torch.cat([effect.mean(1), effect.abs().mean(1), deviation(effect), effect.amin(1), effect.amax(1)], 1)


def deviation(effect: Tensor) -> Tensor:
    """Standard deviation over units, (B, units, C) to (B, C); gradient zero where all units are equal."""
    return effect.var(1, correction=0).clamp(min=1e-20).sqrt()


def flatten_effects(profile: Sequence[Tensor], with_summaries: bool) -> Tensor:
    """Concatenate an image's effects, shape (B, F), followed by each intervention's summaries if requested."""
    rows = [effect.flatten(1) for effect in profile]
    return torch.cat(rows + ([summaries(effect) for effect in profile] if with_summaries else []), 1)


def compressed(effect: Tensor, resolution: float) -> Tensor:
    """Signed logarithm of effects, linear below the resolution; smooth, same shape.

    Effects range over orders of magnitude, and the small ones are as informative as the large ones.
    """
    return (effect / resolution).asinh()
