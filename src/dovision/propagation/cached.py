"""A propagation that lasts as long as the weights that it was made for."""

from __future__ import annotations

from dovision.interfaces import Classifier, Intervention
from dovision.propagation.propagation import Propagation


class CachedPropagation:
    """Gives the Propagation of the last call if the classifier is still the same, since it takes a while to set up.

    A change of weights in place, new weights and another device are noticed; a write through `.data` is not.
    """

    def __init__(self, intervention: Intervention, chunk: int | str = "auto") -> None:
        self.intervention = intervention
        self.chunk = chunk
        self._cached: Propagation | None = None
        self.stamp = 0  # of the weights that it was made for

    def __call__(self, classifier: Classifier) -> Propagation:
        stamp = weights_stamp(classifier)
        if self._cached is None or self._cached.classifier is not classifier or self.stamp != stamp:
            self._cached, self.stamp = Propagation(classifier, self.intervention, self.chunk), stamp
        return self._cached


def weights_stamp(classifier: Classifier) -> int:
    """A number that a change of weights, or another classifier, would change; a write through `.data` does not."""
    weights = classifier.state_dict(keep_vars=True).values()
    return hash((id(classifier), *((tensor.data_ptr(), tensor._version) for tensor in weights)))
