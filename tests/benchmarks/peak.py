"""Print the peak resident memory, in KiB, of 28 x 28 units of VGG-16 at 224 pixels on this many images."""

from __future__ import annotations

import resource
import sys

from peers import batch_of, classifier_of

from dovision.interventions.pixel_grid import PixelGrid
from dovision.propagation import Propagation

propagation = Propagation(classifier_of("vgg16"), PixelGrid(28, 28))
for _ in range(0, int(sys.argv[1]), 5):
    propagation(batch_of(5))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
