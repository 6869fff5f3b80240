"""The engine: recompute only what descends from an edit. Exact, with the plain forward pass as fallback and oracle."""

from dovision.propagation.propagation import CachedPropagation, Outcome, Propagation
from dovision.propagation.sites import check_layout

__all__ = ["CachedPropagation", "Outcome", "Propagation", "check_layout"]
