"""Plain forward passes of edits that leave out positions, so that less is computed behind the site."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dovision.interfaces import Context, Intervention
from dovision.propagation.chunking import is_out_of_memory
from dovision.propagation.edits import Pairs
from dovision.propagation.plain import CleanPass, Plain
from dovision.propagation.spans import Index


class ShorterValues(NamedTuple):
    """Values of a site of different lengths, one for each of some pairs."""

    values: list[tuple[Index, Tensor]]  # numbers of the pairs that share a unit, and the value of each of them
    changed: Tensor  # (P,) bool; all are

    def chosen(self, index: Index) -> ShorterValues:
        """The values of the pairs with these numbers."""
        values = []
        for group, new in self.values:
            places = np.flatnonzero(np.isin(index, group))
            if len(places):
                values.append((places, new[torch.from_numpy(np.searchsorted(group, index[places]))]))
        return ShorterValues(values, self.changed[torch.from_numpy(index)])


class Shortened(Plain):
    """Plain passes, each over pairs whose edits leave equally many positions."""

    def treated(self, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context) -> Tensor:
        return self.run(clean, pairs, self.edit(clean, pairs, intervention, context), context)

    def edit(  # type: ignore[override]  # of values of several lengths
        self, clean: CleanPass, pairs: Pairs, intervention: Intervention, context: Context
    ) -> ShorterValues:
        values = []
        for group in pairs.groups():
            image = torch.from_numpy(pairs.image[group])
            new = intervention.checked_do(clean.site[image], int(pairs.unit[group[0]]), context.rows(image), None)
            values.append((group, new))
        return ShorterValues(values, torch.ones(len(pairs), dtype=torch.bool))

    def run(self, clean: CleanPass, pairs: Pairs, value: Any, context: Context) -> Tensor:
        """Logits, shape (P, K).

        Raises:
            ValueError: the network does not take fewer positions.
        """
        logits = clean.control.new_empty(len(pairs), clean.control.shape[1])
        for length in sorted({new.shape[2] for _, new in value.values}):
            groups, news = zip(*(each for each in value.values if each[1].shape[2] == length), strict=True)
            index = torch.cat([torch.from_numpy(group) for group in groups])
            image = context.batch.image[torch.from_numpy(pairs.image)[index]]
            try:
                logits[index] = self.forward(image, torch.cat(news))
            except (RuntimeError, AssertionError) as error:
                if is_out_of_memory(error):
                    raise
                raise ValueError(
                    f"the network must take any number of tokens, but with {length} of {clean.site.shape[2]} it fails "
                    f"({str(error).splitlines()[0]}). Paint over the cells instead (intervention=pixel_grid)."
                ) from error
        return logits
