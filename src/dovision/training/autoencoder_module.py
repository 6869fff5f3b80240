"""Fits of an autoencoder that is inserted into a frozen classifier: causal, or by a loss of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from dovision import checks
from dovision.functional import effects
from dovision.interfaces import Classifier
from dovision.models.conv_autoencoder import Reached, inserted_autoencoder
from dovision.training.autoencoder_loss import AutoencoderLoss
from dovision.training.fitted_module import FittedModule, MakeOptimizer
from dovision.training.schedule import Schedule
from dovision.types import Batch

Self = TypeVar("Self", bound="AutoencoderModule")


class AutoencoderModule(FittedModule):
    """LightningModule that fits only an autoencoder; the classifier stays unchanged, in eval mode.

    Args:
        reference_classifier: without the autoencoder, whose answers are to be preserved.
        with_autoencoder: the same classifier with the autoencoder.
        optimizer: from parameters to an optimizer.
        schedule: of the step size; None: as the optimizer has it.
        warmup_steps: steps over which the step size rises to what optimizer and schedule make it.
    """

    def __init__(
        self,
        reference_classifier: Classifier,
        with_autoencoder: Classifier,
        optimizer: MakeOptimizer,
        schedule: Schedule | None = None,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(optimizer, schedule, warmup_steps)
        self.reference_classifier = reference_classifier.eval().requires_grad_(False)
        self.with_autoencoder = with_autoencoder.eval().requires_grad_(False)
        self.autoencoder = inserted_autoencoder(with_autoencoder).requires_grad_(True)

    def train(self: Self, mode: bool = True) -> Self:
        """Set train mode for the autoencoder only; the classifier's batch-norm and dropout stay in eval mode."""
        super().train(mode)
        self.reference_classifier.eval()
        self.with_autoencoder.eval()
        self.autoencoder.train(mode)
        return self

    def fitted_parameters(self) -> Iterable[nn.Parameter]:
        return self.autoencoder.parameters()

    def finish(self) -> None:
        self.autoencoder.after_fit()

    def log_validation(self, batch: Batch, metrics: Mapping[str, Tensor]) -> None:
        """Log means over the validation images, as val_<name>."""
        named = {f"val_{name}": value for name, value in metrics.items()}
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=len(batch.image))


class CausalAutoencoder(AutoencoderModule):
    """LightningModule that fits a classifier's autoencoder; the classifier stays unchanged, in eval mode.

    Args:
        reference_classifier, with_autoencoder, optimizer, schedule, warmup_steps: as of AutoencoderModule.
        loss: of its terms; one of weight 0 is not computed, but for the deep one, which is always logged.
        zeroed_channel: of the code, set to 0 all through the fit, so that the autoencoder learns to do without it; None
            for none.

    Raises:
        ValueError: the weight of interpretability is not 0, and the first feature maps of encoder and decoder differ
            in shape; or the code has no such channel.

    Source: arXiv:1902.03380; arXiv:1802.00541, section 3.
    """

    best_by = ("val_loss", "min")

    def __init__(
        self,
        reference_classifier: Classifier,
        with_autoencoder: Classifier,
        optimizer: MakeOptimizer,
        loss: AutoencoderLoss,
        zeroed_channel: int | None = None,
        schedule: Schedule | None = None,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(reference_classifier, with_autoencoder, optimizer, schedule, warmup_steps)
        self.loss = loss
        self.zeroed_channel = zeroed_channel
        if zeroed_channel is not None:
            checks.bounded("training.autoencoder.zeroed_channel", zeroed_channel, 0, self.autoencoder.code_channels - 1)
        first, last = self.autoencoder.first_channels or (0, -1)
        if loss.weights["interpretability"] and first != last:
            raise ValueError(
                "training.autoencoder.loss.interpretability must be 0 unless the first feature maps of encoder and "
                f"decoder have the same channels, got {first} and {last}."
            )

    @property
    def logged(self) -> list[str]:
        terms = [name for name, weight in self.loss.weights.items() if weight or name == "deep"]
        return [f"{stage}_{name}" for stage in ("train", "val") for name in ("loss", *terms)]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        terms = self.terms(batch.image)
        return self.logged_loss(batch, self._weighed(terms), **terms)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        terms = self.terms(batch.image)
        self.log_validation(batch, {**terms, "loss": self._weighed(terms)})

    def _weighed(self, terms: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.loss.weights[name] * term for name, term in terms.items()]).sum()

    def terms(self, image: Tensor) -> dict[str, Tensor]:
        """The three terms of the loss, each a scalar; `deep` always, the others where their weight is not 0."""
        terms: dict[str, Tensor] = {}

        def measure(module: Any, args: tuple[Tensor], output: Tensor) -> None:
            if self.loss.weights["shallow"]:
                terms["shallow"] = self.loss.reconstruction(output, args[0])
            if self.loss.weights["interpretability"]:
                first = module.encoder[0](args[0]), module.decoder[0](module.encoder(args[0]))
                terms["interpretability"] = self.loss.variation(*first)

        zeroing = self.autoencoder.encoder.register_forward_hook(self._zero)
        with zeroing, self.autoencoder.register_forward_hook(measure):
            logits = self.with_autoencoder(image)
        with torch.no_grad():
            target = self.reference_classifier(image)
        terms["deep"] = effects.divergence(target, logits, self.reference_classifier.task).sum(-1).mean()
        return terms

    def _zero(self, encoder: nn.Module, args: tuple[Tensor], code: Tensor) -> Tensor:
        """Zero the chosen channel of the code, shape (B, C, H, W)."""
        if self.zeroed_channel is None:
            return code
        return code.index_fill(1, torch.tensor(self.zeroed_channel, device=code.device), 0.0)


class ReconstructionQuality(Metric):
    """Explained variance, active latents and dead latents of an autoencoder, over positions of any number of images.

    compute() has shape (3,), float64, nan before the first position; `names` are those of its numbers. The explained
    variance is 1 less the share of the activations' variance, over all positions and channels, that the residual has;
    l0 the mean number of latents other than 0 at a position; dead_share the share of latents that are 0 at all of them.

    Args:
        num_channels: C, of the activations.
        num_latents: L, of the code.
    """

    names = ("explained_variance", "l0", "dead_share")
    full_state_update = False
    residual: Tensor  # scalar, sum of squares
    total: Tensor  # (C,) sum of activations
    squares: Tensor  # (C,) sum of their squares
    size: Tensor  # (L,) sum of the absolute values of a latent
    active: Tensor  # (L,) positions at which a latent is not 0
    count: Tensor  # scalar, positions

    def __init__(self, num_channels: int, num_latents: int) -> None:
        super().__init__()
        sums = {"residual": (), "total": (num_channels,), "squares": (num_channels,), "size": (num_latents,)}
        for name, shape in sums.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        for name, shape in {"active": (num_latents,), "count": ()}.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, activation: Tensor, output: Tensor, code: Tensor) -> None:
        """Add positions: activations and their reconstructions, shape (P, C), and codes, shape (P, L)."""
        activation = activation.double()
        self.residual += (activation - output).square().sum()
        self.total += activation.sum(0)
        self.squares += activation.square().sum(0)
        self.size += code.abs().sum(0, dtype=torch.float64)
        self.active += (code != 0).sum(0)
        self.count += len(code)

    def compute(self) -> Tensor:
        variance = (self.squares - self.total.square() / self.count).sum()
        dead = (self.active == 0).double().mean().masked_fill(self.count == 0, torch.nan)
        return torch.stack([1 - self.residual / variance, self.active.sum() / self.count.double(), dead])

    def activity(self) -> Tensor:
        """The mean size of each latent over the positions, shape (L,)."""
        return self.size / self.count


class SparseAutoencoder(AutoencoderModule):
    """LightningModule that fits an autoencoder by its `loss_terms`; no gradient passes the classifier.

    Logged of the validation images are, besides the loss, val_explained_variance, val_l0 and val_dead_share (see
    `ReconstructionQuality`), and val_kl, the divergence of P(y | x) with the autoencoder from that without, in nats.

    Args:
        reference_classifier, with_autoencoder, optimizer, schedule, warmup_steps: as of AutoencoderModule.
    """

    best_by = ("val_explained_variance", "max")

    def setup(self, stage: str) -> None:
        self.quality = ReconstructionQuality(self.autoencoder.width, self.autoencoder.code_channels)

    @property
    def logged(self) -> list[str]:
        terms = self.autoencoder.loss_terms
        return [
            *(f"train_{name}" for name in ("loss", *terms)),
            *(f"val_{name}" for name in ("loss", "kl", *ReconstructionQuality.names, *terms)),
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        terms = self.autoencoder.losses(self.activation(batch.image))
        return self.logged_loss(batch, torch.stack(list(terms.values())).sum(), **terms)

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        self.autoencoder.after_step()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        activation = self.activation(batch.image)
        code = self.autoencoder.encoder(activation)
        values = (activation, self.autoencoder.decoder(code), code)
        present = self.autoencoder.layout.present
        self.quality.update(*(present(value).movedim(1, -1).flatten(0, -2) for value in values))  # by position
        terms = self.autoencoder.losses(activation)
        control, treated = self.reference_classifier(batch.image), self.with_autoencoder(batch.image)
        kl = effects.divergence(control, treated, self.reference_classifier.task).sum(-1).mean()
        self.log_validation(batch, {"loss": torch.stack(list(terms.values())).sum(), **terms, "kl": kl})

    def on_validation_epoch_end(self) -> None:
        metrics = zip(self.quality.names, self.quality.compute().float(), strict=True)
        self.log_dict({f"val_{name}": value for name, value in metrics})
        self.autoencoder.after_validation(self.quality.activity())
        self.quality.reset()

    @torch.no_grad()
    def activation(self, image: Tensor) -> Tensor:
        """Output of the layer before the autoencoder, where the pass ends."""
        activations: list[Tensor] = []

        def stop(module: nn.Module, args: tuple[Tensor]) -> None:
            activations.append(args[0])
            raise Reached

        with self.autoencoder.register_forward_pre_hook(stop), suppress(Reached):
            self.with_autoencoder(image)
        return activations[0]
