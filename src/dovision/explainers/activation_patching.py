"""Activation patching of a vision transformer: what one patch's activations alone do for the class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dovision import checks
from dovision.functional.effects import SCALES, evidence
from dovision.interfaces import Classifier, Explainer
from dovision.module_state import evaluating
from dovision.propagation.tokens import TokenGrid, token_grid
from dovision.types import Batch, Shape


class ActivationPatching(Explainer):
    """Evidence for the class that a patch of the image brings into a blank one by its activations (CAAP).

    The network sees a blank image; behind each block of a range a patch's token is set to the activation that it has
    there in the image. The map is the evidence with the patch minus that without: one pass a patch and two more.
    Tokens without a patch stay those of the blank image.

    Args:
        first, last: ends of the range of blocks, as shares of the network's depth.
        fill: pixel units, of the blank image; None: the mean colour of the image.
        scale: log_odds, or probability.
        batch_size: blank images a pass; the map depends on it in its last bits.

    Source: Izadi et al., Causal attribution via activation patching, arXiv:2603.13652, after its abstract.

    Example:
        >>> import torch
        >>> import torchvision
        >>> sizes = {"image_size": 8, "patch_size": 4, "hidden_dim": 8, "mlp_dim": 8, "num_classes": 2}
        >>> network = torchvision.models.VisionTransformer(num_layers=4, num_heads=2, **sizes)
        >>> classifier = dv.wrap(network, 2)
        >>> images = torch.rand(3, 3, 8, 8)
        >>> batch = dv.Batch(images, torch.zeros(3).long(), torch.arange(3), torch.arange(3))
        >>> dv.ActivationPatching()(batch, batch.label, classifier).shape
        torch.Size([3, 8, 8])
    """

    def __init__(
        self,
        first: float = 0.25,
        last: float = 0.75,
        fill: float | None = None,
        scale: str = "log_odds",
        batch_size: int = 16,
    ) -> None:
        self.last = checks.within("last", last, 0, 1)
        self.first = checks.within("first", first, 0, self.last)
        self.fill = None if fill is None else checks.within("fill", fill, 0, 1, "It is in pixel units.")
        self.scale = checks.choice("scale", scale, SCALES)
        self.batch_size = checks.positive_int("batch_size", batch_size)

    @torch.no_grad()
    def check(self, classifier: Classifier, shape: Shape) -> None:
        with evaluating(classifier):
            self._activations(classifier, torch.zeros(1, *shape, device=classifier.mean.device))

    @torch.no_grad()
    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        blocks, values, grid = self._activations(classifier, batch.image)
        maps = []
        for row, (image, wanted) in enumerate(zip(batch.image, target.tolist(), strict=True)):
            blank = torch.full_like(image, self.fill) if self.fill is not None else image.mean((1, 2), keepdim=True)
            blanks = blank.expand(1, *image.shape)
            logits = [classifier(blanks)]
            for tokens in torch.split(torch.arange(grid.prefix, values[0].shape[1]), self.batch_size):

                def patch(number: int, *of_block: Any, row: int = row, tokens: Tensor = tokens) -> Tensor:
                    changed: Tensor = of_block[-1].clone()
                    changed[range(len(tokens)), tokens] = values[number][row, tokens]
                    return changed

                logits.append(_hooked(classifier, blocks, blanks.expand(len(tokens), -1, -1, -1), patch))
            scores = evidence(torch.cat(logits), classifier.task, self.scale)[:, wanted]
            maps.append((scores[1:] - scores[0]).view(grid.rows, grid.columns))
        return torch.stack(maps)

    def _activations(self, classifier: Classifier, image: Tensor) -> tuple[list[nn.Module], list[Tensor], TokenGrid]:
        """Blocks of the range, their tokens, shapes (B, T, D), and where these lie."""
        named = {
            name: module
            for name, module in classifier.network.named_modules()
            if any(True for _ in module.parameters())
        }
        outputs: dict[int, Any] = {}
        _hooked(
            classifier, [*named.values()], image, lambda number, *of_module: outputs.update({number: of_module[-1]})
        )
        by_class: dict[tuple[type, Any], list[str]] = {}
        for number, (name, module) in enumerate(named.items()):
            if isinstance(value := outputs.get(number), Tensor) and value.ndim == 3:
                by_class.setdefault((type(module), value.shape), []).append(name)
        repeated = [names for names in by_class.values() if len(names) > 1]
        every = [f"{name}." for names in repeated for name in names]
        blocks = next((names for names in repeated if not any(names[-1].startswith(start) for start in every)), [])
        chosen = blocks[int(self.first * len(blocks)) : max(1, round(self.last * len(blocks)))]
        if not chosen:
            raise ValueError(
                "activation patching needs a transformer of blocks that all put out the same tokens, got a "
                f"{type(classifier.network).__name__}. Choose another explainer, such as effect_map."
            )
        values = [outputs[[*named].index(name)] for name in chosen]
        grid = token_grid(values[0].shape[1], classifier, tuple(image.shape[1:]))
        return [named[name] for name in chosen], values, grid


def _hooked(classifier: Classifier, blocks: Sequence[nn.Module], image: Tensor, hook: Callable[..., Any]) -> Tensor:
    """Logits with a hook behind each block, called with its number before a forward hook's arguments."""
    with ExitStack() as hooks:
        for number, block in enumerate(blocks):
            hooks.enter_context(block.register_forward_hook(partial(hook, number)))
        return classifier(image)
