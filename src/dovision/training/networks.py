"""The networks of a plan: found, read, or fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pytorch_lightning.loggers import Logger

from dovision.config.settings import TrainSettings
from dovision.identity.plans import AUTOENCODER, CLASSIFIER, FOREIGN_WEIGHTS, PERMUTED, NetworkKey
from dovision.identity.shared import PlannedJob
from dovision.training.fitting import fit_autoencoder, fit_classifier, save_as_given
from dovision.training.foreign import save_foreign
from dovision.training.model_cache import (
    Architecture,
    FitProcess,
    FittedModel,
    check_fits,
    found_or_fitted,
    read_model,
)
from dovision.training.named_loggers import named_loggers
from dovision.training.sanity_checks import PermutedLabels
from dovision.training.trainer import limits


def architecture_of(settings: TrainSettings) -> Architecture:
    """Components of a job's networks."""
    return Architecture(settings.model, settings.autoencoder, settings.trust_checkpoint)


class JobNetworks:
    """Networks of a job, in the order of its plan; `plan` receives the weights of each once fitted.

    Args:
        settings: of the job.
        job: with its plan, and the images, which take the classes of the classifier if they have no labels.
        loggers: of the curves of fits.
        again: fit what is found, too.
    """

    def __init__(
        self,
        settings: TrainSettings,
        job: PlannedJob,
        loggers: Sequence[Logger] = (),
        again: bool = False,
    ) -> None:
        self.settings = settings
        self.plan, self.images, self.digests = job
        self.loggers = loggers
        self.again = again
        self.architecture = architecture_of(settings)
        self.fitted: dict[str, FittedModel] = {}

    def all(self) -> dict[str, FittedModel]:
        """All networks by name."""
        for name in self.plan.network_keys:
            self.fit(name)
        return self.fitted

    def fit(self, name: str) -> FittedModel:
        """Fit a network unless cached; the classifier first.

        Raises:
            ValueError: the checkpoint's classes or image shape are not the dataset's.
        """
        make = {CLASSIFIER: self._classifier, PERMUTED: self._permuted, AUTOENCODER: self._with_autoencoder}[name]
        model = self.fitted[name] = make(self.plan.network_keys[name])
        self.plan = self.plan.with_weights(name, model.weights, self.digests)
        return model

    def _classifier(self, key: NetworkKey) -> FittedModel:
        settings, images = self.settings, self.images
        if key.fits:
            fit = partial(fit_classifier, settings, images, loggers=self.loggers, start=settings.ckpt_path)
            return self._found_or_fitted(key, fit)
        if key.is_given:
            model = read_model(key.path, self.architecture, given=True)
        elif settings.foreign_checkpoint is not None:
            assert key.surroundings is not None
            model = self._found_or_fitted(
                key, partial(save_foreign, settings, origin=key.surroundings[FOREIGN_WEIGHTS])
            )
        else:
            model = self._found_or_fitted(key, partial(save_as_given, settings))
        images.take_classes(model.classifier.task)
        check_fits(model, images.task, images.shape)
        return model

    def _permuted(self, key: NetworkKey) -> FittedModel:
        """Classifier fitted to permuted labels, whose maps should show nothing."""
        images, loggers = PermutedLabels(self.images, self.settings.seed), named_loggers(PERMUTED, self.loggers)
        return self._found_or_fitted(key, partial(fit_classifier, self.settings, images, loggers=loggers))

    def _with_autoencoder(self, key: NetworkKey) -> FittedModel:
        classifier, loggers = self.fitted[CLASSIFIER], named_loggers(AUTOENCODER, self.loggers)

        def fit(path: Path) -> None:
            fit_autoencoder(self.settings, self.images, classifier.classifier, classifier.path, path, loggers)

        names = {"model": classifier.model, "autoencoder": self.settings.code_of.record()}
        return found_or_fitted(key, self.architecture, names, self._process(fit))

    def _found_or_fitted(self, key: NetworkKey, fit: Callable[[Path], None]) -> FittedModel:
        names = {"model": self.settings.model.record(), "autoencoder": None}
        return found_or_fitted(key, self.architecture, names, self._process(fit))

    def _process(self, fit: Callable[[Path], None]) -> FitProcess:
        return FitProcess(fit, self.settings.seed, limits(self.settings.trainer), self.again)
