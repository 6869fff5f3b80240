"""Effects of interventions: pure functions.

Treated minus control, everywhere: a negative effect means that do(u) took evidence away. Tensors of different shapes
are a ValueError, which names them. Source of the definitions: arXiv:1902.03380.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dovision import checks
from dovision.types import Task

SCALES = ("probability", "log_odds")  # on which evidence for a class is measured
RESOLUTION = 2.0**-24  # of a float32 probability near 1; an effect below it is rounding
SMALL_ON_PROBABILITY = 0.005  # an effect; where all are smaller, and some CLEAR_ON_LOG_ODDS, log-odds are shown
CLEAR_ON_LOG_ODDS = 0.05


def effect(treated: Tensor, control: Tensor) -> Tensor:
    """Change of class probability caused by an intervention.

    Args:
        treated: P(y | do(u), x), shape (..., K), probabilities.
        control: P(y | x), the same shape, probabilities.

    Returns:
        Signed effect, shape (..., K), in [-1, 1].
    """
    checks.same_shape(treated=treated, control=control)
    return treated - control


def evidence(logits: Tensor, task: Task, scale: str) -> Tensor:
    """P(y | x), or its log-odds, which do not saturate, from logits; both of shape (..., K).

    `scale` is one of SCALES.
    """
    return task.log_odds(logits) if scale == "log_odds" else task.probability(logits)


def log_odds_effect(treated_logits: Tensor, control_logits: Tensor, task: Task) -> Tensor:
    """Change of log P/(1 - P), shape (..., K); unlike probability, it does not saturate."""
    checks.same_shape(treated_logits=treated_logits, control_logits=control_logits)
    return task.log_odds(treated_logits) - task.log_odds(control_logits)


def divergence(control_logits: Tensor, treated_logits: Tensor, task: Task) -> Tensor:
    """Terms of the Kullback-Leibler divergence KL(P(y | x) || P(y | do(u), x)), in nats.

    Args:
        control_logits: of P(y | x), shape (..., K).
        treated_logits: of P(y | do(u), x), the same shape.
        task: its classes.

    Returns:
        Shape (..., K). For multiclass the term of each class, P log(P / Q), which may be negative: their sum is the
        divergence, their mean what torch's KLDivLoss takes by default. For multilabel the divergence of each label.
    """
    checks.same_shape(control_logits=control_logits, treated_logits=treated_logits)
    if not task.multilabel:
        control, treated = control_logits.log_softmax(-1), treated_logits.log_softmax(-1)
        return F.kl_div(treated, control, reduction="none", log_target=True)
    present = control_logits.sigmoid() * (F.logsigmoid(control_logits) - F.logsigmoid(treated_logits))
    absent = (-control_logits).sigmoid() * (F.logsigmoid(-control_logits) - F.logsigmoid(-treated_logits))
    return present + absent


def expected_logit_effect(treated_logits: Tensor, control_logits: Tensor, task: Task) -> Tensor:
    """Change of the logits weighted by the control probability, as the notebooks of the source report it.

    Args:
        treated_logits: logits under do(u), shape (..., K).
        control_logits: logits of P(y | x), the same shape.
        task: multiclass sums over the classes; multilabel has one expected effect per label.

    Returns:
        Shape (..., K). For multiclass the sum, the same number for each class.

    Source: mnist.ipynb of the authors' notebooks (jjaacckkyy63/Causal-Intervention-AE-wAdvImg).
    """
    checks.same_shape(treated_logits=treated_logits, control_logits=control_logits)
    return expected_effect(treated_logits - control_logits, task.probability(control_logits), task)


def expected_effect(effect: Tensor, control: Tensor, task: Task) -> Tensor:
    """Expected effect: the effect weighted by the control probability.

    Args:
        effect: effects, shape (..., K).
        control: P(y | x), the same shape.
        task: multiclass sums over the classes; multilabel has one expected effect per label.

    Returns:
        Shape (..., K) in [-1, 1]. For multiclass the sum over classes, the same number for each class.
    """
    checks.same_shape(effect=effect, control=control)
    weighted = effect * control
    return weighted if task.multilabel else weighted.sum(-1, keepdim=True).expand_as(effect)


def mean_over_units(values: Tensor, done: Tensor | None = None) -> Tensor:
    """Mean over classes and acting units of an image, shape (B,); nan without such units.

    It is summed in double precision, so that the other images of a batch do not move its last bits.

    Args:
        values: shape (B, U, K).
        done: True where the unit acts on the image, shape (B, U) bool; None is everywhere.
    """
    of_units = values.double().mean(2)
    means = of_units.mean(1) if done is None else of_units.masked_fill(~done, torch.nan).nanmean(1)
    return means.to(values.dtype)
