"""do-calculus for vision models: the causal effect of interventions on image classifiers."""

from dovision.models.checkpoint import load

__all__ = ["load"]
