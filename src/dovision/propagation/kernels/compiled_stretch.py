"""The stretch of a network that every edit runs in full, compiled by OpenVINO into one step."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from dovision import checks
from dovision.propagation.graph import Graph, Step, follows_sizes
from dovision.propagation.operations import Operations
from dovision.propagation.rules import rule_of

OPENVINO = "openvino"
_LEAST_SHARE = 0.1  # of the network's multiply-adds in the stretch, below which it stays torch's
_ROWS = 2  # images that are traced: of one, torch would take the number for a constant


class _Stretch(nn.Module):
    """Steps as a function of examples' values, shape (N, ...); of `sizes_of`, they read only the sizes."""

    def __init__(self, steps: list[Step], examples: dict[Step, Tensor], sizes_of: dict[Step, Tensor]) -> None:
        super().__init__()
        self.steps, self.examples, self.sizes_of = steps, examples, sizes_of
        self.functions = nn.ModuleList(step.function for step in steps if isinstance(step.function, nn.Module))
        for step in steps:  # a trace takes no weights that require gradients
            step.args, step.kwargs = fx.node.map_aggregate(
                (step.args, step.kwargs), lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf
            )

    def forward(self, *inputs: Tensor) -> Tensor:
        values: dict[Step, Any] = dict(zip(self.examples, inputs, strict=True))
        for step, value in self.sizes_of.items():
            values[step] = inputs[0].new_empty((inputs[0].shape[0], *value.shape[1:]))
        for step in self.steps:
            args, kwargs = step.arguments(values.__getitem__)
            values[step] = step.function(*args, **kwargs)
        return values[self.steps[-1]]


class CannotCompile(Exception):
    """A runtime does not take a network; why."""


class CompiledStretch:
    """A stretch in OpenVINO, in single precision, with torch's threads and any number of images.

    It has an image's multiply-adds as `operations`, and the bytes of its largest result as `largest`.
    """

    def __init__(self, stretch: _Stretch, counted: list[Operations]) -> None:
        openvino = checks.import_extra(OPENVINO, "runtimes")
        self.operations = sum(one.number for one in counted) // _ROWS
        self.largest = max(one.largest for one in counted) // _ROWS
        examples = tuple(stretch.examples.values())
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of sizes that the trace takes for constants, as those of maps are
            traced = torch.jit.trace(stretch, examples, check_trace=False)  # type: ignore[no-untyped-call]
            model = openvino.convert_model(traced, input=[(-1, *example.shape[1:]) for example in examples])
        settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
        self._run = openvino.Core().compile_model(model, "CPU", settings)

    def __call__(self, *inputs: Tensor) -> Tensor:
        return torch.from_numpy(self._run([value.contiguous().numpy() for value in inputs])[0])

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledStretch:
        return self  # which nothing changes


def compile_stretch(graph: Graph, image: Tensor) -> Graph:
    """Replace the steps from the first one on that reads a whole map of what edits change, such as attention.

    A graph in which these take less than a tenth of the multiply-adds is left as it is.

    Raises:
        CannotCompile: by torch's trace or by OpenVINO.
    """
    values: dict[Step, Any] = {graph.image: image[:1].repeat(_ROWS, 1, 1, 1)}
    sizes, counted = set[Step](), dict[Step, Operations]()
    for step in graph.steps:
        if step is not graph.image:
            args, kwargs = step.arguments(values.__getitem__)
            with Operations() as counted[step], torch.no_grad():
                values[step] = step.function(*args, **kwargs)
        if step is not graph.site and follows_sizes(step, values[step], sizes):
            sizes.add(step)
    maps = {step for step, value in values.items() if isinstance(value, Tensor) and value.ndim == 4}
    of_site = (graph.descendants(graph.site) & graph.ancestors()) - sizes - {graph.site}
    edited = (step for step in graph.steps if step in of_site)
    inside = set(itertools.dropwhile(lambda step: rule_of(step) and maps.issuperset((step, *step.inputs())), edited))
    if sum(counted[step].number for step in inside) <= _LEAST_SHARE * sum(one.number for one in counted.values()):
        return graph
    examples, sizes_of = dict[Step, Tensor](), dict[Step, Tensor]()
    for step in reversed(graph.steps):
        for source in step.inputs() if step in inside else ():
            if source in sizes:
                inside.add(source)
            elif source not in inside:
                (sizes_of if step in sizes else examples)[source] = values[source]
    steps = [step for step in graph.steps if step in inside]
    try:
        function = CompiledStretch(_Stretch(steps, examples, sizes_of), [counted[step] for step in steps])
    except RuntimeError as error:
        lines = str(error).strip().splitlines() or [""]
        raise CannotCompile(next((line for line in lines if "::" in line), lines[-1]).strip(" -")) from error
    output = replace(graph.output, function=function, args=tuple(examples), kwargs={})
    graph = replace(graph, steps=(*graph.steps, output), output=output)
    needed = {graph.image, graph.site, *graph.ancestors()}
    return replace(graph, steps=tuple(step for step in graph.steps if step in needed))
