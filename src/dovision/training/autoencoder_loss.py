"""The loss of an autoencoder inserted into a classifier.

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
        self.weights = self.checked(weights)

    def reconstruction(self, output: Tensor, activation: Tensor) -> Tensor:
        """The shallow term, a scalar, of h' and h of one shape."""
        return (output - activation).abs().mean()

    def variation(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """Mean absolute mismatch of differences of neighbours in e and d, shape (B, C, H, W); a scalar."""
        across, down = ((encoded.diff(dim=axis) - decoded.diff(dim=axis)).abs().mean() for axis in (-1, -2))
        return across + down

    def checked(self, weights: dict[str, float]) -> dict[str, float]:
        """Weights of the terms that are trained."""
        if not any(weights.values()):
            raise ValueError("the weights of the autoencoder's loss must not all be 0, since nothing would be fitted.")
        return weights
