"""The loss of an autoencoder inserted into a classifier: as its source means it, and as its source codes it.

Notation: h and h' are the activations before and after the autoencoder, e and d the first feature maps of its encoder
and of its decoder.
"""

from __future__ import annotations

from torch import Tensor

from dovision import checks


class AutoencoderLoss:
    """Weighted sum of a reconstruction, a deep and a variation term.

        shallow * mean |h' - h| + deep * KL(P(y|x) || P(y|x, autoencoder)) + interpretability * TV mismatch of e and d

    Args:
        shallow, deep, interpretability: weights, at least 0 and one of them above.

    Source: arXiv:1902.03380; arXiv:1802.00541.
    """

    def __init__(self, shallow: float, deep: float, interpretability: float) -> None:
        weights = {"shallow": shallow, "deep": deep, "interpretability": interpretability}
        for name, weight in weights.items():
            checks.at_least(name, weight, 0)
        self.weights = self._weigh(weights)

    def reconstruction(self, output: Tensor, activation: Tensor) -> Tensor:
        """The shallow term, a scalar, of h' and h of one shape."""
        return (output - activation).abs().mean()

    def variation(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """The interpretability term, a scalar, of e and d, shape (B, C, H, W)."""
        return variation_mismatch(encoded, decoded)

    def _weigh(self, given: dict[str, float]) -> dict[str, float]:
        """Weights of the terms that are trained."""
        if not any(given.values()):
            raise ValueError("the weights of the autoencoder's loss must not all be 0, since nothing would be fitted.")
        return given


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

    def _weigh(self, given: dict[str, float]) -> dict[str, float]:
        trained = given["interpretability"] + given["deep"]
        if not trained:
            raise ValueError(
                "interpretability or deep must be above 0 in the loss as coded, since its shallow term fits nothing."
            )
        return {**given, "deep": 0.0, "interpretability": trained}


def variation_mismatch(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the horizontal and of the vertical differences of two maps, shape (B, C, H, W)."""
    return (a.diff(dim=-1) - b.diff(dim=-1)).abs().mean() + (a.diff(dim=-2) - b.diff(dim=-2)).abs().mean()
