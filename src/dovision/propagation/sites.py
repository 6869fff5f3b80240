"""Sites of a network: the value behind a name, as the engines enter and leave it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dovision import checks
from dovision.interfaces import Classifier
from dovision.types import CODE, INPUT, TOKENS, Layout

EMBEDDINGS = (".pos_drop", ".encoder.dropout", ".embeddings")  # behind the position embedding: timm, torchvision, HF
HEADS = "heads"  # NAME.heads: what the heads of attention NAME give, before its output projection
JOINED_HEADS = (("num_heads", "proj"), ("num_attention_heads", "o_proj"))  # timm's, Hugging Face's: number, projection
Forward = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Site:
    """Place of an edit in a forward pass: `leave(forward, enter(forward, *args, **kwargs))` is the module's own result.

    `forward` is the module's forward, or a stand-in that gives the same. What lies between is the value of the site, as
    interventions see it: a layout that is known is part of both functions.
    """

    name: str
    module: nn.Module
    enter: Callable[..., Any] = lambda forward, *args, **kwargs: forward(*args, **kwargs)
    leave: Callable[[Forward, Any], Any] = lambda forward, value: value
    call: int | None = None  # which of the module's calls in a pass, from 0; None: its only one
    layout: Layout | None = None  # of the value before it was presented; None: it is taken as it comes

    def presented(self, layout: Layout) -> Site:
        """Site with its value as `Layout.present` shows it."""
        return replace(
            self,
            enter=lambda forward, *args, **kwargs: layout.present(self.enter(forward, *args, **kwargs)),
            leave=lambda forward, value: self.leave(forward, layout.restore(value)),
            layout=layout,
        )

    @contextmanager
    def tapped(self, edit: Callable[[Any], Any]) -> Iterator[list[int]]:
        """Pass the site's value to `edit` in forward passes; a result other than None replaces the value.

        Yields the numbers of the calls of the module as they come; see `check_calls`.
        """
        calls: list[int] = []

        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            calls.append(len(calls))
            if calls[-1] != (self.call or 0):
                return None
            new = edit(self.enter(lambda *_, **__: output, *args, **kwargs))
            return None if new is None else self.leave(module.forward, new)

        handle = self.module.register_forward_hook(hook, with_kwargs=True)
        try:
            yield calls
        finally:
            handle.remove()

    def check_calls(self, number: int) -> None:
        """Raise if the site does not match the number of the module's calls in a pass."""
        if self.call is None and number > 1:
            raise ValueError(
                f"the site must run once in a forward pass, got {number} runs of {self.name!r}. "
                f"Name one of them: {self.name}#0 to {self.name}#{number - 1}."
            )
        if (self.call or 0) >= number:
            raise ValueError(
                f"site {self.name!r} must run in a forward pass, got {number} runs of its module. Choose another layer."
            )

    def check_value(self, value: Any, images: int) -> Tensor:
        """Return the value if it is one tensor of the images."""
        if isinstance(value, Tensor) and value.ndim > 1 and len(value) == images:
            return value
        got = type(value).__name__
        if isinstance(value, Tensor):
            got = f"shape {tuple(value.shape)} for {images} images; it may hold windows of the images there"
        raise ValueError(
            f"the site's output must be one tensor with the images on its first axis, got {got} at {self.name!r}. "
            "Choose another layer."
        )


def find_site(classifier: Classifier, name: str) -> Site | None:
    """The site of a name; None for the input.

    NAME is the output of a submodule, NAME#1 that of its second call in a pass, NAME.heads the heads of an attention
    before its output projection, shape (B, heads, T, D); the classifier's own names (CODE) stand for submodules.

    Raises:
        ValueError: there is none of this name; the error lists the nearest names.
    """
    if name == INPUT:
        return None
    modules = {path: module for path, module in classifier.network.named_modules() if path}
    if name == TOKENS and name not in modules:
        name = _embedding(modules)
    base, numbered, call = name.partition("#")
    path = classifier.sites.get(base, base)
    if not numbered or call.isdecimal():
        number = int(call) if numbered else None
        if path in modules:
            return Site(name, modules[path], call=number)
        owner, _, last = path.rpartition(".")
        if last == HEADS and (heads := _heads(name, modules.get(owner), number)):
            return heads
    if name == CODE:
        raise ValueError(
            "the site 'code' needs an autoencoder inserted into the classifier; choose one (autoencoder=...)."
        )
    legal = site_names(classifier)
    near = checks.suggestion(name, legal) or f" Its sites are: {checks.listed(legal)}."
    raise ValueError(f"the classifier has no site {name!r}.{near}")


def _embedding(modules: Mapping[str, nn.Module]) -> str:
    """The layer whose tokens the first block reads, by its usual names."""
    for path, module in modules.items():
        if f".{path}".endswith(EMBEDDINGS) and not hasattr(getattr(module, "config", None), "window_size"):
            return path
    raise ValueError(
        f"the site {TOKENS!r} needs a vision transformer that adds a position embedding to its tokens, such as timm's "
        "vit_tiny_patch16_224, got none. Networks that attend over windows, such as Swin, need all their tokens."
    )


def site_names(classifier: Classifier) -> list[str]:
    """Names of all sites of a classifier; a module that runs several times is listed once."""
    names = [INPUT, *classifier.sites]
    for name, module in classifier.network.named_modules():
        if name:
            names += [name, f"{name}.{HEADS}"] if _heads(name, module, None) else [name]
    return names


def _heads(name: str, attention: nn.Module | None, call: int | None) -> Site | None:
    """Site of the heads of torch's attention, or of a module with a number of heads and an output projection."""
    if isinstance(attention, nn.MultiheadAttention):
        return _torch_heads(name, attention, call)
    for names in JOINED_HEADS:
        number, joins = (getattr(attention, attribute, None) for attribute in names)
        if isinstance(number, int) and isinstance(joins, nn.Linear) and joins.in_features % number == 0:
            enter = lambda forward, joined, heads=number: _split(joined, heads)  # noqa: E731  # of its projection
            return Site(name, joins, enter, lambda forward, value: forward(_joined(value)), call, Layout.NHTC)
    return None


def _torch_heads(name: str, module: nn.MultiheadAttention, call: int | None) -> Site:
    """Heads of `nn.MultiheadAttention` without masks, between the products before and its output projection."""

    def enter(forward: Forward, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        names = ("key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal")
        options = dict(zip(names, args, strict=False)) | kwargs
        masked = any(options.get(name) is not None for name in names[0:3:2])
        if masked or module.bias_k is not None or module.add_zero_attn:
            raise ValueError("heads can be edited in an attention without masks and without added keys, got one with.")
        if module._qkv_same_embed_dim:
            weights = module.in_proj_weight.chunk(3)
        else:
            weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        biases = (None, None, None) if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
        inputs = [tokens if module.batch_first else tokens.transpose(0, 1) for tokens in (query, key, value)]
        heads = [_split(F.linear(inputs[i], weights[i], biases[i]), module.num_heads) for i in range(3)]
        return F.scaled_dot_product_attention(*heads)

    def leave(forward: Forward, value: Any) -> tuple[Any, None]:
        output = F.linear(_joined(value), module.out_proj.weight, module.out_proj.bias)
        return (output if module.batch_first else output.transpose(0, 1)), None  # no attention weights

    return Site(name, module, enter, leave, call, Layout.NHTC)


def _split(joined: Any, heads: int) -> Any:
    """(B, T, heads * D) to (B, heads, T, D)."""
    return joined.unflatten(-1, (heads, -1)).transpose(1, 2)


def _joined(value: Any) -> Any:
    return value.transpose(1, 2).flatten(2)
