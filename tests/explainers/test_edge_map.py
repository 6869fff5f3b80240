"""The edges, against scipy's."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from dovision.explainers.edge_map import EdgeMap


def test_the_map_is_the_size_of_scipys_sobel_gradient_of_the_grey_image(convolutional, images):
    batch = images(3, 3, 12, 15)
    grey = batch.image.mean(1).numpy()
    expected = [np.hypot(*(ndimage.sobel(one, axis, mode="nearest") for axis in (0, 1))) for one in grey]
    maps = EdgeMap()(batch, torch.tensor([0, 1, 2]), convolutional())
    torch.testing.assert_close(maps, torch.from_numpy(np.stack(expected)), rtol=0, atol=1e-5)
