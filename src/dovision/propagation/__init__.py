"""The engine: recompute only what descends from an edit. Exact, with the plain forward pass as fallback and oracle."""

from dovision.propagation.layouts import presented_site
from dovision.propagation.propagation import CachedPropagation, Outcome, Propagation, check_approximation

__all__ = ["CachedPropagation", "Outcome", "Propagation", "check_approximation", "presented_site"]
