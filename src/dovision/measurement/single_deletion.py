"""Truth for maps where none is known: what a class loses when one patch of the image is painted, edge by edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from dovision import checks
from dovision.functional import agreement
from dovision.functional.effects import log_odds_effect
from dovision.interfaces import Classifier
from dovision.interventions.edge_control import EdgeControl
from dovision.interventions.fills import Fill
from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import CachedPropagation, Propagation
from dovision.results.image_tables import CONTENT, HARD, SOFT
from dovision.results.tables import NUMBER
from dovision.types import Batch


class SingleDeletion:
    """Rank correlation of a map with the losses of single patches, by what they are replaced with.

    The loss of a patch is minus the effect of painting it on the log-odds of the class; the map has its mean there.
    The patches have hard edges (HARD), or soft ones (SOFT), since an edge that painting draws can act on the network by
    itself; or they have the content of other images under a soft edge (CONTENT), the mean over these.

    Args:
        fill: what a patch is painted with; one that no map is made with, or maps are favoured that share it.
        cells: patches a side.
        soft: standard deviation of the Gaussian that makes edges soft, as a share of the patch's side.
        donors: fills that give the content of other images; without any, CONTENT is not measured.

    Source: the single deletion score of Hesse et al., NeurIPS 2024, arXiv:2407.11910, which fine-tunes the network on
    images with deleted patches first; here it stays as it is.

    Example:
        >>> import dovision as dv
        >>> dv.SingleDeletion(dv.Constant(0.5), cells=2).cells
        2
    """

    def __init__(self, fill: Fill, cells: int = 4, soft: float = 0.25, donors: Sequence[Fill] = ()) -> None:
        self.cells, self.soft = checks.positive_int("cells", cells), checks.positive("soft", soft)
        grids = [PixelGrid(self.cells, self.cells, content) for content in (fill, *donors)]
        self._hard = CachedPropagation(grids[0])
        self._soft = [CachedPropagation(EdgeControl(grid, 0, self.soft)) for grid in grids]
        self.columns = dict.fromkeys((HARD, SOFT, CONTENT) if donors else (HARD, SOFT), NUMBER)

    def losses(self, batch: Batch, target: Tensor, classifier: Classifier) -> dict[str, npt.NDArray[np.float64]]:
        """Losses of log-odds of class target[b] of image b by each patch, shape (B, cells * cells), by edge."""
        hard, soft, *swaps = (self._lost(made(classifier), batch, target) for made in (self._hard, *self._soft))
        return {HARD: hard, SOFT: soft} | ({CONTENT: np.mean(swaps, axis=0)} if swaps else {})

    def scores(self, maps: Tensor, losses: dict[str, npt.NDArray[np.float64]]) -> dict[str, list[float | None]]:
        """Spearman correlations of maps at image size, shape (B, H, W), with losses; None where one is constant."""
        means = agreement.to_cells(maps, self.cells, self.cells).flatten(1).double().cpu().numpy()
        ranks = {name: np.atleast_1d(agreement.spearman(means, lost)) for name, lost in losses.items()}
        return {name: [None if np.isnan(rank) else float(rank) for rank in of_edge] for name, of_edge in ranks.items()}

    def _lost(self, propagation: Propagation, batch: Batch, target: Tensor) -> npt.NDArray[np.float64]:
        outcome, task = propagation(batch), propagation.classifier.task
        effect = log_odds_effect(outcome.treated, outcome.control.unsqueeze(1).expand_as(outcome.treated), task)
        lost = -effect.take_along_dim(target.view(-1, 1, 1), dim=2)[:, :, 0]
        return lost.double().cpu().numpy()
