"""A control: what is sought has edges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dovision.interfaces import Classifier, Explainer
from dovision.types import Batch

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))  # from left to right


class EdgeMap(Explainer):
    """Size of the Sobel gradient of the mean over the image's channels, whatever the class; edges go on as they end.

    Source of the control: Adebayo et al., Sanity checks for saliency maps, arXiv:1810.03292.
    """

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        grey = F.pad(batch.image.detach().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        across = torch.tensor(SOBEL).to(grey)
        return F.conv2d(grey, torch.stack([across, across.T]).unsqueeze(1)).norm(dim=1)
