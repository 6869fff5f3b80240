"""The passes that a stream of edits takes: which are made at all, and how many share one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from dovision.interfaces import Context, Intervention
from dovision.propagation.chunking import PassLimits, is_out_of_memory
from dovision.propagation.edits import Edit, Pairs
from dovision.propagation.incremental import Incremental
from dovision.propagation.spans import Index
from dovision.propagation.whole_passes import WholePasses


@dataclass(eq=False)
class EditedPasses:
    """Passes over the edits of some images, without edits that change no bit of the site's value.

    Those are left out before passes are filled. Passes that become short repeat rows, so that the others keep their
    bits; repeated rows do not count as forward passes.

    Args:
        engine: that runs them.
        clean: the engine's pass on the images as they are.
        intervention: whose edits they are.
        context: of the images.
        allowance: limits on the pairs of a pass.
        progress: counts forward passes as they are done.
    """

    engine: Incremental | WholePasses
    clean: Any
    intervention: Intervention
    context: Context
    allowance: PassLimits
    progress: Callable[[int], None]
    made: int = 0  # edits so far

    def __post_init__(self) -> None:
        site = self.clean.site
        canvas = self.intervention.canvas(site, self.context)
        # A canvas that cannot be is reported unit by unit, by `checked_do`.
        if canvas is not None and canvas.shape == site.shape and not (site.is_cpu and canvas.isnan().any()):
            self.context = self.context._replace(canvas=(canvas.to(site), self.context.batch.sample.tolist()))
        unchanged = self.intervention.unchanged(site)
        self._unchanged = None if unchanged is None else unchanged.cpu().numpy()  # (B, U)

    def logits(self, stream: Pairs) -> Iterator[tuple[Pairs, Tensor]]:
        """Yield changed pairs, some at a time, with their logits, shape (P, K)."""
        unchanged = self._unchanged
        pending = [stream if unchanged is None else stream.chosen(~unchanged[stream.image, stream.unit])]
        while pending:
            pairs = pending.pop()
            limit = self.allowance.compared(local=pairs.box is not None and self.clean.site.ndim == 4)
            if len(pairs) > limit:
                pending.extend(pairs.batches(limit))
            elif len(pairs):
                try:
                    edit = self.engine.edit(self.clean, pairs, self.intervention, self.context)
                except (MemoryError, RuntimeError) as error:
                    self._make_room(error, len(pairs))
                    pending.append(pairs)
                else:
                    yield from self._run(pairs, edit, len(stream))

    def _run(self, pairs: Pairs, edit: Edit, stream: int) -> Iterator[tuple[Pairs, Tensor]]:
        """Run the changed pairs of a chunk; unchanged ones take no pass."""
        pending = [edit.changed.nonzero().flatten().cpu().numpy()]
        fewer = self._unchanged is not None or len(pending[0]) < len(pairs)
        while pending:
            chunk = pending.pop()
            passes = self.allowance.passes(len(chunk))
            if passes > 1:
                pending.extend(np.array_split(chunk, passes))
            elif len(chunk):
                least = self.allowance.least_rows(stream) if fewer else 1
                rows: Index = np.resize(chunk, max(len(chunk), least))
                try:
                    logits = self.engine.run(self.clean, pairs.chosen(rows), edit.chosen(rows), self.context)
                except (MemoryError, RuntimeError) as error:
                    self._make_room(error, len(rows))
                    pending.append(chunk)
                    continue
                self.allowance.fit_pairs(self.engine.bytes_per_pair, logits.device)
                self.made += len(chunk)
                self.progress(len(chunk))
                yield pairs.chosen(chunk), logits[: len(chunk)]

    def _make_room(self, error: Exception, pairs: int) -> None:
        """Reduce the pairs of a pass after running out of memory; raise any other error."""
        if pairs == 1 or not is_out_of_memory(error):
            raise error
        self.allowance.halve(pairs)
