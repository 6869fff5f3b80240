"""An autoencoder with a loss of its own under Lightning: it learns the activations of a frozen classifier."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor, nn

from dovision.functional import effects
from dovision.interfaces import Autoencoder, Classifier
from dovision.metrics.reconstruction import ReconstructionQuality
from dovision.models.conv_autoencoder import Reached
from dovision.training.autoencoder_module import AutoencoderModule
from dovision.training.fitted_module import MakeOptimizer
from dovision.training.schedule import Schedule
from dovision.types import Batch, Layout

VALIDATED = ("loss", "kl", *ReconstructionQuality.names)


class SparseAutoencoder(AutoencoderModule):
    """Fit an autoencoder that has `loss_terms`; the classifier stays as it is, and no gradient passes through it.

    Logged of the validation images are, besides the loss, val_explained_variance, val_l0 and val_dead_share (see
    `ReconstructionQuality`), and val_kl, the divergence of P(y | x) with the autoencoder from that without, in nats.

    Args:
        plain: the classifier without the autoencoder.
        with_autoencoder: the same classifier with the autoencoder.
        optimizer: from parameters to an optimizer.
        schedule: of the step size; None: as the optimizer has it.
        warmup_steps: steps over which the step size rises to what optimizer and schedule make it.
    """

    best_by = ("val_explained_variance", "max")

    def __init__(
        self,
        reference_classifier: Classifier,
        with_autoencoder: Classifier,
        optimizer: MakeOptimizer,
        schedule: Schedule | None = None,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(reference_classifier, with_autoencoder, optimizer, schedule, warmup_steps)
        self.quality = ReconstructionQuality(self.autoencoder.width, self.autoencoder.code_channels)

    @property
    def logged(self) -> list[str]:
        return logged_metrics(self.autoencoder)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        terms = self.autoencoder.losses(self.activation(batch.image))
        return self.logged_loss(batch, torch.stack(list(terms.values())).sum(), **terms)

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        self.autoencoder.after_step()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        activation = self.activation(batch.image)
        code = self.autoencoder.encoder(activation)
        values = (activation, self.autoencoder.decoder(code), code)
        self.quality.update(*(_positions(value, self.autoencoder.layout) for value in values))
        terms = self.autoencoder.losses(activation)
        control, treated = self.reference_classifier(batch.image), self.with_autoencoder(batch.image)
        kl = effects.divergence(control, treated, self.reference_classifier.task).sum(-1).mean()
        metrics = {"loss": torch.stack(list(terms.values())).sum(), **terms, "kl": kl}
        named = {f"val_{name}": value for name, value in metrics.items()}
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=len(batch.image))

    def on_validation_epoch_end(self) -> None:
        metrics = zip(self.quality.names, self.quality.compute().float(), strict=True)
        self.log_dict({f"val_{name}": value for name, value in metrics})
        self.autoencoder.after_validation(self.quality.activity())
        self.quality.reset()

    @torch.no_grad()
    def activation(self, image: Tensor) -> Tensor:
        """The output of the layer before the autoencoder; the pass ends there."""
        activations: list[Tensor] = []

        def stop(module: nn.Module, args: tuple[Tensor]) -> None:
            activations.append(args[0])
            raise Reached

        with self.autoencoder.register_forward_pre_hook(stop), suppress(Reached):
            self.with_autoencoder(image)
        return activations[0]


def _positions(value: Tensor, layout: Layout) -> Tensor:
    """All positions of a value of this layout, shape (positions, channels)."""
    return layout.present(value).movedim(1, -1).flatten(0, -2)


def logged_metrics(autoencoder: Autoencoder) -> list[str]:
    """The names under which the fit of an autoencoder with `loss_terms` logs its metrics."""
    train = [f"train_{name}" for name in ("loss", *autoencoder.loss_terms)]
    return [*train, *(f"val_{name}" for name in (*VALIDATED, *autoencoder.loss_terms))]
