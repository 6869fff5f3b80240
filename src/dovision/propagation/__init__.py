"""Propagation of edits: recompute only what descends from an edit, exactly, with the whole forward pass as the oracle.

One cell of a 14 x 14 grid on an image of 224 x 224 pixels, through ResNet-18:

1. `edits.all_pairs` lists the pairs (image, unit) with the box that a unit can touch; here 16 x 16 pixels.
2. `engine_choice.choose_engine` decides once per site and region. `tracing` turns the classifier into a `graph.Graph`
   of steps, one an operator; `graph_passes` and `kernels` rewrite it (batch-norm folded, products packed). The engine
   is tried on the middle unit: logits must agree with those of a whole pass, and fewer operations must be left, or the
   classifier runs as it is (`whole_passes.WholePasses`).
3. `Incremental.clean` runs the image as it is, and stores the values that edits will read around their patches.
4. `edits.edit_of` makes the edited pixels, and says whether any bit has changed; an unchanged pair takes no pass.
5. `Incremental.run` carries the patch from step to step by the operator's rule (`rules`). A convolution of 7 x 7 with
   stride 2 reads a margin of 3 from the stored map, and makes of 16 x 16 pixels a patch of 11 x 11:

        stored map                 the patch, gathered with its margin          the patch behind the convolution
        +---------------+          + - - - - - +
        |               |          |  +-----+  |  margin, from the stored map   +-----+
        |    +-----+    |    ->    |  |     |  |                          ->    |     |  11 x 11 of 112 x 112
        |    |     |    |          |  +-----+  |                                +-----+
        |    +-----+    |          + - - - - - +
        +---------------+

   Pointwise operators keep its size; pooling, and each further convolution, let it grow by their windows (`spans`).
6. Once it covers most of a map (`rules.ALMOST_ALL`), or the operator reads the whole map (the mean before the head),
   the patch is pasted into the stored map (`patch.Map.full`), and the steps from there on run in full.
7. `EditedPasses` lets many pairs share a pass (`chunking.PassLimits`), and hands back logits pair by pair; an `Outcome`
   holds them beside the control.
"""

from dovision.propagation.layouts import presented_site
from dovision.propagation.propagation import CachedPropagation, Outcome, Propagation

__all__ = ["CachedPropagation", "Outcome", "Propagation", "presented_site"]
