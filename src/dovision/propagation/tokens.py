"""Places of a vision transformer's tokens in the image."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from dovision.interfaces import Classifier
from dovision.types import Shape

MOST_PREFIX_TOKENS = 8  # class and register tokens, where the network does not say how many it has


class TokenGrid(NamedTuple):
    """Tokens in order: some that stand for no patch (class, registers), then the patches, row by row."""

    prefix: int
    rows: int
    columns: int

    def maps(self, tokens: Tensor) -> Tensor:
        """Values of the patches, shape (B, C, rows, columns), from those of all tokens, shape (B, C, T)."""
        return tokens[:, :, self.prefix :].reshape(*tokens.shape[:2], self.rows, self.columns)


def token_grid(tokens: int, classifier: Classifier, shape: Shape) -> TokenGrid:
    """The grid that so many tokens fill over images of shape (C, H, W).

    Raises:
        ValueError: they fill none of the image's aspect.
    """
    prefixes = [getattr(module, "num_prefix_tokens", None) for module in classifier.modules()]  # timm's networks say it
    known = [each for each in prefixes if isinstance(each, int)]
    height, width = shape[1:]
    for prefix in known[:1] or range(MOST_PREFIX_TOKENS + 1):
        rows = round((max(tokens - prefix, 0) * height / width) ** 0.5)
        if rows and rows * rows * width == (tokens - prefix) * height:
            return TokenGrid(prefix, rows, (tokens - prefix) // rows)
    raise ValueError(f"the network's {tokens} tokens must be a grid over the {height} x {width} image, but are none.")
