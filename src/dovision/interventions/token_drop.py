"""Leaving out the tokens of a vision transformer that stand for a cell of the image."""

from __future__ import annotations

from torch import Tensor

from dovision import checks
from dovision.functional import geometry
from dovision.interfaces import Context, Intervention
from dovision.propagation.tokens import token_grid
from dovision.types import TOKENS, Box, Shape


class TokenDrop(Intervention):
    """do(cell = left out) on a rows x columns grid of the image: its tokens skip the blocks.

    No pixel is painted, so that the network sees no value that the data would not have given it, and fewer tokens are
    computed. A token belongs to the cell that its patch's centre lies in. Tokens that stand for no patch, those of the
    class and registers, always stay. Needs a transformer whose blocks take any number of tokens, as ViT and DeiT do;
    networks that attend over windows (Swin), or by a table of relative positions, are refused.

    Args:
        rows, columns: of the grid; at most as many as the tokens have.
        keep: leave out all tokens but those of the cell.
        site: behind the position embedding; TOKENS finds it in timm's, torchvision's and Hugging Face's networks.

    Raises:
        ValueError: in `do`: no token lies in the cell, or the tokens fill no grid of the image's aspect.

    Source: Jain et al., Missingness bias in model debugging, arXiv:2204.08945.

    Example:
        >>> dv.TokenDrop(2, 2).units((1, 32, 32))
        ('r0c0', 'r0c1', 'r1c0', 'r1c1')
    """

    unit = "token"
    shortens = True

    def __init__(self, rows: int, columns: int, keep: bool = False, site: str = TOKENS) -> None:
        self.rows = checks.positive_int("rows", rows)
        self.columns = checks.positive_int("columns", columns)
        checks.positive_int("rows * columns", rows * columns, checks.MOST_CELLS)
        self.keep = keep
        self.site = site

    def units(self, shape: Shape) -> tuple[str, ...]:
        return tuple(f"r{r}c{c}" for r in range(self.rows) for c in range(self.columns))

    def on_image(self, shape: Shape, unit: int, sample: int) -> Box:
        return geometry.grid_cell(shape, unit, self.rows, self.columns)

    def do(self, value: Tensor, unit: int, context: Context) -> Tensor:
        shape = tuple(context.batch.image.shape[1:])
        grid = token_grid(value.shape[2], context.classifier, shape)
        inside = grid.cells(shape, self.rows, self.columns) == unit
        if not inside.any():
            raise ValueError(
                f"rows and columns must be at most those of the tokens, {grid.rows} x {grid.columns}, got {self.rows} "
                f"x {self.columns}: no token lies in the cell {self.units(shape)[unit]}."
            )
        return grid.kept(value, inside if self.keep else ~inside)
