"""A model as a list of steps, from the image to the logits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx


@dataclass(eq=False)
class Step:
    """Operation of a graph; other steps among its arguments stand for their results."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    shared: bool = False  # whether its result is known to be one for all images

    def inputs(self) -> list[Step]:
        """The steps whose results it takes, each once."""
        steps: dict[Step, None] = {}
        self.arguments(steps.setdefault)
        return list(steps)

    def arguments(self, value: Callable[[Step], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments, with `value(step)` in place of each step."""
        filled = fx.node.map_aggregate(
            (self.args, self.kwargs), lambda leaf: value(leaf) if isinstance(leaf, Step) else leaf
        )
        return filled


@dataclass(frozen=True)
class Method:
    """A call of a tensor's method, comparable by name."""

    name: str

    def __call__(self, owner: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(owner, self.name)(*args, **kwargs)


@dataclass(frozen=True)
class PartOf:
    """Part of the several that a function splits a tensor into."""

    split: Callable[..., Any]
    number: int

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.split(*args, **kwargs)[self.number]


def is_size(value: Any) -> bool:
    """Return whether a value is a size, or a tuple of sizes."""
    return isinstance(value, (int, torch.Size)) or (isinstance(value, tuple) and all(map(is_size, value)))


@dataclass(frozen=True)
class Graph:
    """Steps in order; `image` is the first, the result of `output` the logits; `site` marks the edit's place."""

    steps: tuple[Step, ...]
    image: Step
    site: Step
    output: Step

    def readers(self) -> Counter[Step]:
        """Number of steps that read each result; the logits are read by the caller too."""
        count = Counter(source for step in self.steps for source in step.inputs())
        count[self.output] += 1
        return count

    def descendants(self, origin: Step) -> set[Step]:
        """Steps that can change with `origin`, including `origin`."""
        reached = {origin}
        for step in self.steps:
            if not reached.isdisjoint(step.inputs()):
                reached.add(step)
        return reached

    def ancestors(self, *others: Step) -> set[Step]:
        """Steps on which the logits after an edit, or other steps, depend."""
        reached = {self.output, *others}
        for step in reversed(self.steps):
            if step in reached:
                reached.update(step.inputs())
        return reached
