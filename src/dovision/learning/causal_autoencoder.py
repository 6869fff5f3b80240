"""The causal autoencoder under Lightning: it learns to leave a frozen classifier's answers as they are."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from dovision.contracts import CODE, Batch, Classifier, Task
from dovision.learning.image_classifier import MakeOptimizer
from dovision.models.conv_autoencoder import ConvAutoencoder


class CausalAutoencoder(pl.LightningModule):
    """Fit the autoencoder of a classifier; the classifier's parameters, buffers and eval mode stay as they are.

        loss = shallow * mean|h' - h| + deep * KL(P(y|x) || P(y|x, autoencoder)) + interpretability * TV mismatch

    Args:
        plain: the classifier without the autoencoder, whose answers are to be kept.
        inserted: the same classifier with the autoencoder.
        optimizer: from parameters to an optimizer.
        shallow, deep, interpretability: weights of the three terms; a term of weight 0 is not computed.

    Raises:
        ValueError: the weight of interpretability is not 0, and the first feature maps of encoder and decoder differ
            in shape.

    Source: arXiv:1902.03380; arXiv:1802.00541, section 3.
    """

    def __init__(
        self,
        plain: Classifier,
        inserted: Classifier,
        optimizer: MakeOptimizer,
        shallow: float,
        deep: float,
        interpretability: float,
    ) -> None:
        super().__init__()
        self.plain = plain.eval().requires_grad_(False)
        self.inserted = inserted.eval().requires_grad_(False)
        self.autoencoder: ConvAutoencoder = inserted.network.get_submodule(  # type: ignore[assignment]
            inserted.sites[CODE].rpartition(".")[0]
        ).requires_grad_(True)
        self.optimizer = optimizer
        self.weights = {"shallow": shallow, "deep": deep, "interpretability": interpretability}
        if interpretability and self.autoencoder.first_channels[0] != self.autoencoder.first_channels[1]:
            raise ValueError(
                "autoencoder.interpretability must be 0 unless the first feature maps of encoder and decoder have the "
                f"same channels, got {self.autoencoder.first_channels[0]} and {self.autoencoder.first_channels[1]}."
            )

    def train(self, mode: bool = True) -> CausalAutoencoder:
        """Only the autoencoder is ever in train mode: batch-norm and dropout of the classifier never are."""
        super().train(mode)
        self.plain.eval()
        self.inserted.eval()
        self.autoencoder.train(mode)
        return self

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._loss(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._loss(batch, "val")

    def _loss(self, batch: Batch, stage: str) -> Tensor:
        terms = self.terms(batch.image)
        loss = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        for name, value in {**terms, "loss": loss}.items():
            self.log(f"{stage}_{name}", value, on_step=False, on_epoch=True, batch_size=len(batch.image))
        return loss

    def terms(self, image: Tensor) -> dict[str, Tensor]:
        """The three terms of the loss, each a scalar; `deep` always, the others where their weight is not 0."""
        terms: dict[str, Tensor] = {}

        def measure(module: ConvAutoencoder, args: tuple[Tensor], output: Tensor) -> None:
            if self.weights["shallow"]:
                terms["shallow"] = (output - args[0]).abs().mean()
            if self.weights["interpretability"]:
                code = module.encoder(args[0])
                terms["interpretability"] = variation_mismatch(module.encoder[0](args[0]), module.decoder[0](code))

        handle = self.autoencoder.register_forward_hook(measure)
        try:
            logits = self.inserted(image)
        finally:
            handle.remove()
        with torch.no_grad():
            target = self.plain(image)
        terms["deep"] = divergence(target, logits, self.plain.task)
        return terms

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.autoencoder.parameters())


def divergence(target: Tensor, logits: Tensor, task: Task) -> Tensor:
    """KL(P_target || P) of two batches of logits, shape (B, K): batch mean in nats, summed over independent labels."""
    if task.multilabel:
        present = target.sigmoid() * (F.logsigmoid(target) - F.logsigmoid(logits))
        absent = (-target).sigmoid() * (F.logsigmoid(-target) - F.logsigmoid(-logits))
        return (present + absent).sum(-1).mean()
    return F.kl_div(logits.log_softmax(-1), target.log_softmax(-1), log_target=True, reduction="batchmean")


def variation_mismatch(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the horizontal and of the vertical differences of two maps, shape (B, C, H, W)."""
    return (a.diff(dim=-1) - b.diff(dim=-1)).abs().mean() + (a.diff(dim=-2) - b.diff(dim=-2)).abs().mean()
