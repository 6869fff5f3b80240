"""The stream of (image, unit) pairs, its chunks, and the edit that one chunk makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dovision.interfaces import Context, Intervention
from dovision.propagation.patch import Patch, as_rows, gather
from dovision.propagation.spans import Index, Span
from dovision.types import Box, Shape


@dataclass(frozen=True)
class Pairs:
    """Edits to make, each of one unit on one image."""

    image: Index  # (P,) row in the batch
    unit: Index  # (P,)
    box: Index | None  # (P, 4) top, left, bottom, right; None if all of the value can change

    def __len__(self) -> int:
        return len(self.image)

    def chosen(self, index: Index) -> Pairs:
        """The pairs with these numbers."""
        return Pairs(self.image[index], self.unit[index], None if self.box is None else self.box[index])

    def batches(self, limit: int) -> list[Pairs]:
        """Split the pairs, in their order, into batches of nearly equal size, at most `limit` each."""
        return [self.chosen(index) for index in np.array_split(np.arange(len(self)), -(-len(self) // limit))]

    def groups(self) -> Iterator[Index]:
        """Numbers of the pairs that share unit and region, a group at a time."""
        key = self.unit[:, None] if self.box is None else np.column_stack([self.unit, self.box])
        _, member = np.unique(key, axis=0, return_inverse=True)
        order = np.argsort(member.reshape(-1), kind="stable")
        yield from np.split(order, np.flatnonzero(np.diff(member.reshape(-1)[order])) + 1)


def all_pairs(intervention: Intervention, units: tuple[str, ...], sample: list[int], shape: Shape) -> list[Pairs]:
    """The pairs of a batch, split into local and whole-map edits; a pair with an empty region is skipped.

    Raises:
        ValueError: a region, or the mask of a unit of the first image, is of another type or reaches outside the value.
    """
    local, whole = [], []
    for unit in range(len(units)):
        for row, number in enumerate(sample):
            region = intervention.checked_box(intervention.region, shape, unit, number)
            if row == 0:
                intervention.checked_mask(shape, unit, number, region)
            if region is None:
                whole.append((row, unit))
            elif region.height > 0 and region.width > 0:
                local.append((row, unit, *region))
    streams = []
    if local:
        images, numbers, *edges = np.array(local).T
        streams.append(Pairs(images, numbers, np.stack(edges, axis=1)))
    if whole:
        images, numbers = np.array(whole).T
        streams.append(Pairs(images, numbers, None))
    return streams


class Channels(NamedTuple):
    """The channel of the site's value that each pair sets."""

    number: Tensor  # (P,) int64
    change: Tensor  # (P, ...) new values of that channel minus those that it has


class Edit(NamedTuple):
    """The site's value after the edits of some pairs."""

    value: Tensor | Patch | Channels  # (P, ...) the whole value, or what has changed of it
    changed: Tensor  # (P,) bool, whether any bit of it differs from the value as it was

    def chosen(self, index: Index) -> Any:
        """The value of the pairs with these numbers."""
        if isinstance(self.value, Patch):
            return self.value.chosen(index)
        rows = as_rows(index)
        return self.value[rows] if isinstance(self.value, Tensor) else Channels(*(field[rows] for field in self.value))


def edit_of(
    pairs: Pairs,
    intervention: Intervention,
    value: Tensor,
    context: Context,
    local: bool,
    compare: bool = True,
    by_channel: bool = False,
) -> Edit:
    """The edits of some pairs on the site's value, shape (B, ...).

    Args:
        local: whether to give the changed region alone, of a map (B, C, H, W); a smaller region comes with its
            surroundings.
        compare: whether to look for what has changed; otherwise all has.
        by_channel: whether to give Channels in place of the whole value, where each edit sets one.
    """
    within = pairs.box
    changed = torch.ones(len(pairs), dtype=torch.bool, device=value.device)
    if local:
        assert pairs.box is not None
        top, left, bottom, right = pairs.box.T
        rows = Span.covering(top, bottom, value.shape[2])
        columns = Span.covering(left, right, value.shape[3])
        within = pairs.box - np.stack([rows.start, columns.start] * 2, axis=1)
        content = gather(value.movedim(1, -1).contiguous(), pairs.image, rows, columns).movedim(-1, 1)
        if context.canvas is not None:
            paint = gather(context.canvas[0].movedim(1, -1).contiguous(), pairs.image, rows, columns).movedim(-1, 1)
            share = np.zeros((len(pairs), 1, *content.shape[2:]), np.float32)
            for pair, unit in enumerate(pairs.unit.tolist()):
                top, left, bottom, right = within[pair]
                shares = intervention.shares(tuple(value.shape[1:]), unit, context.canvas[1][pairs.image[pair]])
                share[pair, 0, top:bottom, left:right] = 1 if shares is None else shares
            weight = torch.from_numpy(share).to(content)
            new = torch.where(weight > 0, torch.lerp(content, paint, weight), content)
            differs = _differs(new, content)
            return Edit(Patch(content.copy_(new), rows, columns), differs)
    else:
        image = torch.from_numpy(pairs.image)
        one = by_channel and bool((pairs.image == pairs.image[0]).all())  # image, which is then not copied
        content = value[image[:1]].expand(len(pairs), *value.shape[1:]) if one else value[image]
        source = None if context.source is None else context.source[image]
        channels = intervention.do_channels(content, pairs.unit.tolist(), context._replace(source=source))
        on_processor = value.device.type == "cpu"
        if channels is not None and not (on_processor and channels[1].isnan().any()):  # nan is reported unit by unit
            channel = torch.arange(len(pairs), device=value.device), channels[0]
            new = channels[1].to(value.dtype)
            differs = _differs(new[:, None], content[channel][:, None]) if compare else changed
            if by_channel:
                return Edit(Channels(channels[0], new - content[channel]), differs)
            content[channel] = new
            return Edit(content, differs)
        content = content.clone() if one else content
    for group in pairs.groups():
        images, index = as_rows(pairs.image[group]), as_rows(group)
        box = None if pairs.box is None else Box(*pairs.box[group[0]].tolist())
        new = intervention.checked_do(value[images], int(pairs.unit[group[0]]), context.rows(images), box)
        region: tuple[Any, ...] = (index,)
        if within is not None:
            top, left, bottom, right = within[group[0]]
            region += (..., slice(top, bottom), slice(left, right))
        if compare:
            changed[index] = _differs(new, content[region])
        content[region] = new
    return Edit(Patch(content, rows, columns) if local else content, changed)


def _differs(new: Tensor, old: Tensor) -> Tensor:
    """Return whether any bit of a row differs, shape (P,)."""
    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[new.element_size()]
    return (new.view(bits) != old.view(bits)).flatten(1).any(1)
