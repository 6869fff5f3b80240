"""Maps from the attention of a vision transformer: rollout, and attention weighted by the class's gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dovision.interfaces import Classifier, Explainer
from dovision.module_state import evaluating
from dovision.propagation.tokens import TokenGrid, token_grid
from dovision.types import Batch, Shape


class AttentionRollout(Explainer):
    """Product over blocks of head-averaged attention mixed equally with the identity.

    A patch's relevance is that to the first token, the class token, or the mean over all where there is no such token.
    Blind to the class. Needs a transformer whose blocks all attend over all tokens.

    Source: Abnar and Zuidema, arXiv:2005.00928.

    Example:
        >>> import torch
        >>> import torchvision
        >>> sizes = {"image_size": 8, "patch_size": 4, "hidden_dim": 8, "mlp_dim": 8, "num_classes": 2}
        >>> network = torchvision.models.VisionTransformer(num_layers=2, num_heads=2, **sizes)
        >>> classifier = dv.wrap(network, 2)
        >>> images = torch.rand(3, 3, 8, 8)
        >>> batch = dv.Batch(images, torch.zeros(3).long(), torch.arange(3), torch.arange(3))
        >>> dv.AttentionRollout()(batch, batch.label, classifier).shape
        torch.Size([3, 8, 8])
    """

    def check(self, classifier: Classifier, shape: Shape) -> None:
        image = classifier.mean.new_zeros(1, *shape)
        with torch.no_grad(), evaluating(classifier):
            checked_grid(attention_weights(classifier, image)[1], classifier, shape)

    def run(self, batch: Batch, target: Tensor, classifier: Classifier) -> Tensor:
        logits, weights = attention_weights(classifier, batch.image)
        grid = checked_grid(weights, classifier, tuple(batch.image.shape[1:]))
        relevance = self._relevance(weights, logits.take_along_dim(target.unsqueeze(1), 1).sum())
        read = relevance[:, 0] if grid.prefix else relevance.mean(1)  # by the class token, or by all
        return grid.maps(read.unsqueeze(1))[:, 0]

    def _relevance(self, weights: Sequence[Tensor], score: Tensor) -> Tensor:
        relevance = _identity(weights[0])
        for weight in weights:
            relevance = (weight.mean(1) + _identity(weight)) / 2 @ relevance
        return relevance


class GradientAttention(AttentionRollout):
    """Sum over blocks of the positive part of attention times the class logit's gradient, averaged over heads.

    Relevance is read as by AttentionRollout. Needs a transformer whose blocks all attend over all tokens.

    Source: Chefer, Gur and Wolf, arXiv:2103.15679.

    Example:
        >>> import torch
        >>> import torchvision
        >>> sizes = {"image_size": 8, "patch_size": 4, "hidden_dim": 8, "mlp_dim": 8, "num_classes": 2}
        >>> network = torchvision.models.VisionTransformer(num_layers=2, num_heads=2, **sizes)
        >>> classifier = dv.wrap(network, 2)
        >>> images = torch.rand(3, 3, 8, 8)
        >>> batch = dv.Batch(images, torch.zeros(3).long(), torch.arange(3), torch.arange(3))
        >>> dv.GradientAttention()(batch, batch.label, classifier).shape
        torch.Size([3, 8, 8])
    """

    def _relevance(self, weights: Sequence[Tensor], score: Tensor) -> Tensor:
        relevance = _identity(weights[0])
        for weight, gradient in zip(weights, torch.autograd.grad(score, list(weights)), strict=True):
            relevance = relevance + (weight * gradient).relu().mean(1) @ relevance
        return relevance - _identity(relevance)


def attention_weights(classifier: Classifier, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits, and attention of each block in order, shape (B, heads, T, T), rows summing to 1.

    Found are torch's MultiheadAttention and all that call scaled_dot_product_attention, as timm's and Hugging Face's.
    """
    with _Recorder() as recorder:
        logits = classifier(image)
    return logits, recorder.weights


def checked_grid(weights: Sequence[Tensor], classifier: Classifier, shape: Shape) -> TokenGrid:
    """Grid of the tokens in a network's attention, for images of shape (C, H, W).

    Raises:
        ValueError: no attention was found, or one over windows; or the tokens do not fill a grid of the image's aspect.
    """
    if not weights:
        raise ValueError(
            "a map of attention needs a transformer, but no attention ran in the network. Choose another explainer, "
            "such as grad_cam."
        )
    sizes = {tuple(attention.shape[:1] + attention.shape[2:]) for attention in weights}
    if len(sizes) > 1 or weights[0].shape[2] != weights[0].shape[3]:
        raise ValueError(
            "a map of attention needs blocks that all attend over all tokens, got a network that attends over windows "
            "or merges tokens (such as Swin). Choose another explainer, such as grad_cam."
        )
    return token_grid(weights[0].shape[3], classifier, shape)


def _identity(weights: Tensor) -> Tensor:
    """Identity matrices, shape (B, T, T)."""
    size = weights.shape[-1]
    return torch.eye(size, dtype=weights.dtype, device=weights.device).expand(len(weights), size, size)


class _Recorder(TorchFunctionMode):
    """Replacement of fused attention by plain steps in this thread, recording its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._attend_all_heads(*args, **kwargs), None
        return func(*args, **kwargs)

    def _attend_all_heads(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        width: int,
        heads: int,
        in_weight: Tensor | None,
        in_bias: Tensor | None,
        bias_k: Tensor | None,
        bias_v: Tensor | None,
        add_zero_attn: bool,
        dropout_p: float,
        out_weight: Tensor,
        out_bias: Tensor | None,
        **others: Any,
    ) -> Tensor:
        """Output of `nn.MultiheadAttention` for queries, keys and values of shape (T, B, C)."""
        masked = any(others.get(name) is not None for name in ("attn_mask", "key_padding_mask"))
        if in_weight is None or bias_k is not None or add_zero_attn or masked:
            raise ValueError("a map of attention needs plain self-attention, got one with masks or added keys.")
        biases = (None,) * 3 if in_bias is None else in_bias.chunk(3)
        inner = [
            F.linear(tokens, weight, bias).view(*tokens.shape[:2], heads, -1).permute(1, 2, 0, 3)  # (B, heads, T, D)
            for tokens, weight, bias in zip((query, key, value), in_weight.chunk(3), biases, strict=True)
        ]
        return F.linear(self._attend(inner[0], inner[1], inner[2]).permute(2, 0, 1, 3).flatten(2), out_weight, out_bias)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        **others: Any,
    ) -> Tensor:
        if is_causal or others.get("enable_gqa"):
            raise ValueError("a map of attention needs plain attention, got a causal one or one of grouped heads.")
        score = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        if attn_mask is not None:
            score = score.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else score + attn_mask
        weights = score.softmax(-1)
        self.weights.append(weights)
        return weights @ value
