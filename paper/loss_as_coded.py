"""The loss of the causal autoencoder as the notebooks of its source compute it."""

from __future__ import annotations

from torch import Tensor

from dovision.training.autoencoder_loss import AutoencoderLoss


class AutoencoderLossAsCoded(AutoencoderLoss):
    """The loss that the chest notebooks of arXiv:1902.03380 compute, slips included.

        (interpretability + deep) * sum ||dv e| - |dv d|| / height + shallow * mean |h - h'|, h' detached

    The deep term is computed and left out of the sum, the term of interpretability is added in its place; the shallow
    term gives the autoencoder no gradient. dv is the difference of vertical neighbours; the sum runs over the batch.

    Args:
        shallow, deep, interpretability: weights, as `AutoencoderLoss` has them; the source's are 2, 3 and 5.

    Source: causal_chexnet.ipynb and zeroout.ipynb of the authors' notebooks.
    """

    def reconstruction(self, output: Tensor, activation: Tensor) -> Tensor:
        return (activation - output.detach()).abs().mean()

    def variation(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        difference = encoded.diff(dim=-2).abs() - decoded.diff(dim=-2).abs()
        return difference.abs().sum() / decoded.shape[-2]

    def checked(self, weights: dict[str, float]) -> dict[str, float]:
        trained = weights["interpretability"] + weights["deep"]
        if not trained:
            raise ValueError(
                "interpretability or deep must be above 0 in the loss as coded, since its shallow term fits nothing."
            )
        return {**weights, "deep": 0.0, "interpretability": trained}
