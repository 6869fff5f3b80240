"""The traced classifier: one stored clean pass, and passes that recompute only what an edit changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from dovision.interfaces import Context, Intervention
from dovision.propagation.edits import Edit, Pairs, edit_of
from dovision.propagation.graph import Graph, Step
from dovision.propagation.graph_passes import use_in_place
from dovision.propagation.patch import Background, Map, Patch
from dovision.propagation.rules import Rule, almost_all, pointwise, rule_of
from dovision.propagation.spans import Index


class Incremental:
    """Runs a graph; every result agrees with the plain forward pass."""

    passes_per_edit = 1

    def __init__(self, graph: Graph, memory_format: torch.memory_format) -> None:
        self.graph = graph
        self.memory_format = memory_format
        self.of_site = graph.descendants(graph.site)
        self.rules = {step: rule_of(step) for step in self.of_site}
        self.edited_steps = [step for step in graph.steps if step in self.of_site and step is not graph.site]
        self.stored = self._stored()
        use_in_place(graph, self.stored)
        self.inputs = {step: step.inputs() for step in self.edited_steps}
        self.clean_last_use = _last_use(graph.steps)
        self.edited_last_use = _last_use(self.edited_steps)
        self.bytes_per_image = 0  # stored by the first clean pass
        self.bytes_per_pair = 0  # at the peak of the last edited pass

    def _stored(self) -> set[Step]:
        """Steps whose clean results edits need: context around patches, and other operands.

        A pointwise operator with one operand needs none; a concatenation crops its own clean result.
        """
        stored = {self.graph.site, self.graph.output}
        for step in self.edited_steps:
            inputs = step.inputs()
            if self.rules[step] is not pointwise or len(inputs) > 1:
                stored.update(inputs)
            if step.function in (torch.cat, torch.concat):
                stored.add(step)
        return stored

    def clean(self, image: Tensor) -> Background:
        """The pass on the images as they are; keeps what edits need and drops the rest on the way."""
        values: dict[Step, Any] = {self.graph.image: image.contiguous(memory_format=self.memory_format)}
        shapes: dict[Step, torch.Size] = {}
        sizes: set[Step] = set()
        for position, step in enumerate(self.graph.steps):
            if step is not self.graph.image:
                args, kwargs = step.arguments(values.__getitem__)
                values[step] = step.function(*args, **kwargs)
            if isinstance(values[step], Tensor):
                shapes[step] = values[step].shape
            elif _is_size(values[step]):
                sizes.add(step)
            for dead in self.clean_last_use.get(position, ()):
                if dead not in self.stored and dead not in sizes:
                    del values[dead]
        stored = [value.nbytes for value in values.values() if isinstance(value, Tensor)]
        self.bytes_per_image = self.bytes_per_image or sum(stored) // len(image)
        return Background(values, shapes, frozenset(sizes), values[self.graph.site], values[self.graph.output])

    def treated(self, clean: Background, pairs: Pairs, intervention: Intervention, context: Context) -> Tensor:
        """Logits, shape (P, K), after each pair's edit."""
        return self.run(clean, pairs, self.edit(clean, pairs, intervention, context).value, context)

    def edit(self, clean: Background, pairs: Pairs, intervention: Intervention, context: Context) -> Edit:
        """What the edits make of the site's value."""
        return edit_of(pairs, intervention, clean.site, context, pairs.box is not None and clean.site.ndim == 4)

    def run(self, clean: Background, pairs: Pairs, value: Patch | Tensor, context: Context) -> Tensor:
        """Logits, shape (P, K), with this value, or this part of it, at the site."""
        edited = _Pass(self, clean, pairs.image)
        logits = edited.run(value)
        self.bytes_per_pair = edited.peak // len(pairs)
        return logits


@dataclass(eq=False)
class _Pass:
    """One pass over the descendants of the site, for N edited images."""

    engine: Incremental
    background: Background
    image: Index  # (N,) rows of the background
    values: dict[Step, Any] = field(default_factory=dict)
    peak: int = 0  # bytes of the changed values at a time

    def run(self, edit: Patch | Tensor) -> Tensor:
        site = self.engine.graph.site
        self.values[site] = edit
        if isinstance(edit, Patch) and almost_all(self.background.site.shape[2:], edit.rows, edit.columns):
            self._full(site)
        for position, step in enumerate(self.engine.edited_steps):
            self.values[step] = self._result(step)
            self.peak = max(self.peak, sum(map(_nbytes, self.values.values())))
            for dead in self.engine.edited_last_use.get(position, ()):
                if dead is not self.engine.graph.output:
                    self.values.pop(dead, None)
        return self._full(self.engine.graph.output)

    def _result(self, step: Step) -> Any:
        """By the operator's rule if the edit is still local there; otherwise in full."""
        if step in self.background.sizes:
            return self._resized(step)
        changed = [self.values[source] for source in self.engine.inputs[step] if source in self.values]
        rule = self.engine.rules[step]
        if rule is not None and changed and all(isinstance(value, Patch) for value in changed):
            patch = self._patch(step, rule, changed[0].channel_axis)
            if patch is not None:
                return patch
        args, kwargs = step.arguments(self._full)
        return step.function(*args, **kwargs)

    def _patch(self, step: Step, rule: Rule, channel_axis: int) -> Patch | None:
        def operand(source: Step) -> Any:
            return Map(self.background, source, self.image, self.values.get(source), channel_axis)

        if any(len(self.background.shapes.get(source, ())) != 4 for source in (step, *self.engine.inputs[step])):
            return None
        args, kwargs = step.arguments(operand)
        return rule(Map(self.background, step, self.image, None, channel_axis), *args, **kwargs)

    def _full(self, step: Step) -> Any:
        """A step's whole result for each edited image, changed or not."""
        if step in self.values:
            value = self.values[step]
            if isinstance(value, Patch):
                value = Map(self.background, step, self.image, value, value.channel_axis).full()
                self.values[step] = value
            return value
        if step in self.background.sizes:
            return self._resized(step)
        clean: Any = self.background.values[step]
        rows = torch.from_numpy(self.image)
        full: Any = fx.node.map_aggregate(clean, lambda leaf: leaf[rows] if isinstance(leaf, Tensor) else leaf)
        return full

    def _resized(self, step: Step) -> Any:
        """A size, or a number computed from sizes, as it is with N images; no value of a map is looked at."""

        def shape_only(source: Step) -> Any:
            if source in self.background.sizes:
                return self._resized(source)
            return torch.empty((len(self.image), *self.background.shapes[source][1:]), device="meta")

        args, kwargs = step.arguments(shape_only)
        return step.function(*args, **kwargs)


def _nbytes(value: Any) -> int:
    tensor = value.value if isinstance(value, Patch) else value
    return tensor.nbytes if isinstance(tensor, Tensor) else 0


def _is_size(value: Any) -> bool:
    return isinstance(value, (int, torch.Size)) or (isinstance(value, tuple) and all(map(_is_size, value)))


def _last_use(steps: Sequence[Step]) -> dict[int, list[Step]]:
    """For a position in `steps`, the steps whose results are read there for the last time."""
    last = {source: position for position, step in enumerate(steps) for source in (step, *step.inputs())}
    dead: dict[int, list[Step]] = {}
    for source, position in last.items():
        dead.setdefault(position, []).append(source)
    return dead
