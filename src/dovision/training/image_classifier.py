"""A classifier under Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy

from dovision import checks
from dovision.interfaces import Attack, Classifier
from dovision.training.fitted_module import EpochMeans, FittedModule, MakeOptimizer
from dovision.training.label_auroc import LabelAUROC
from dovision.training.losses import ClassificationLoss
from dovision.training.schedule import Schedule
from dovision.training.validation_metrics import MakeMetric, ValidationMetrics
from dovision.types import Batch, Task

SAMPLES_APART = 2**32  # numbers between those of a sample in two epochs


class ImageClassifier(FittedModule):
    """LightningModule that fits a classifier; `val_score` (accuracy, or mean AUROC) selects the best epoch.

    For multilabel the AUROC of each label is logged as val_auroc/<class>, and the best thresholds of the labels on the
    validation images are part of the state, so that those of an epoch come back with its weights.

    Args:
        classifier: images in [0, 1] to logits.
        optimizer: from parameters to an optimizer.
        schedule: of the step size; None: as the optimizer has it.
        warmup_steps: steps over which the step size rises to what optimizer and schedule make it.
        loss: from logits and labels to a scalar.
        metrics: by name, classes of torchmetrics or partials of them, logged of each validation as val_<name>.
        frozen_epochs: epochs at the beginning in which only the last layer is fitted; the others are in eval mode.
        attack: of one epsilon, by which each training image is replaced by its attacked one; None: as they are. Its
            draws depend on (seed, epoch, sample) alone; epochs are chosen by clean validation images.

    Raises:
        ValueError: a metric cannot be made for the task, the last layer cannot be fitted alone, or the attack has
            several epsilons.

    Source of adversarial training: Madry et al., arXiv:1706.06083.
    """

    best_by = ("val_score", "max")
    thresholds: Tensor  # (K,) for multilabel, (0,) for multiclass

    def __init__(
        self,
        classifier: Classifier,
        optimizer: MakeOptimizer = torch.optim.Adamax,
        schedule: Schedule | None = None,
        warmup_steps: int = 0,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        metrics: Mapping[str, MakeMetric] | None = None,
        frozen_epochs: int = 0,
        attack: Attack | None = None,
    ) -> None:
        super().__init__(optimizer, schedule, warmup_steps)
        if attack is not None and len(attack.eps) != 1:
            raise ValueError(f"training.classifier.attack must have one eps, got {list(attack.eps)}.")
        self.attack = attack
        self.classifier = classifier
        self.loss = ClassificationLoss() if loss is None else loss
        self.frozen_epochs = checks.count("frozen_epochs", frozen_epochs)
        self.backbone = FrozenBackbone(classifier) if frozen_epochs else None
        self._validation = EpochMeans()
        self.val_score = score(classifier.task)
        self.val_metrics = ValidationMetrics(classifier.task, metrics or {})
        labels = len(classifier.task.classes) if classifier.task.multilabel else 0
        self.register_buffer("thresholds", torch.full((labels,), 0.5))
        self.save_hyperparameters({"frozen_epochs": frozen_epochs}, logger=False)

    @property
    def fitted_task(self) -> Task:
        """Task of the classifier with the thresholds of the last validation."""
        return replace(self.classifier.task, thresholds=tuple(self.thresholds.tolist()))

    def finish(self) -> None:
        self.classifier.task = self.fitted_task

    @property
    def logged(self) -> list[str]:
        task = self.classifier.task
        areas = [f"auroc/{name}" for name in task.classes] if task.multilabel else []
        return [
            "train_loss",
            "val_loss",
            "val_score",
            *(f"val_{name}" for name in dict.fromkeys([*self.val_metrics.names, *areas])),
        ]

    def fitted_parameters(self) -> Iterable[nn.Parameter]:
        return self.classifier.parameters()

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(image)

    def on_fit_start(self) -> None:
        self.classifier.train()  # Lightning keeps the mode, which is eval for a network made from weights

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.logged_loss(batch, self.loss(self(self._attacked(batch)), batch.label))

    def _attacked(self, batch: Batch) -> Tensor:
        """Training images, attacked if configured, shape (B, C, H, W); sample numbers continue through epochs."""
        if self.attack is None:
            return batch.image
        drawn = batch._replace(sample=batch.sample + self.current_epoch * SAMPLES_APART)
        return self.attack(drawn, self.classifier, self.attack.eps[0])

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        if self.backbone is not None:
            self.backbone.freeze() if self.current_epoch < self.frozen_epochs else self.backbone.release()

    def on_train_end(self) -> None:
        if self.backbone is not None:
            self.backbone.release()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        checks.image_batch(batch.image)
        logits = self(batch.image)
        probability = self.classifier.task.probability(logits)
        self.val_score.update(probability, batch.label)
        self.val_metrics.update(probability, batch.label)
        self._validation.add(len(batch.image), self.loss(logits, batch.label), {})

    def on_validation_epoch_start(self) -> None:
        self._validation = EpochMeans()

    def on_validation_epoch_end(self) -> None:
        self.log("val_loss", self._validation.means()["loss"])  # not of each batch: to log takes a millisecond
        self.log("val_score", self.val_score, prog_bar=True)
        self.log_dict({f"val_{name}": value for name, value in self.val_metrics.compute().items()})
        self.val_metrics.reset()
        if not isinstance(self.val_score, LabelAUROC):
            return
        self.thresholds.copy_(self.val_score.thresholds())
        area = dict(zip(self.classifier.task.classes, self.val_score.by_label(), strict=True))
        finite = {name: value for name, value in area.items() if value.isfinite()}
        if not finite and not self.trainer.sanity_checking:
            raise ValueError(
                "the validation images must show both values of at least one label, or no epoch can be chosen, "
                f"got one value alone for each of {', '.join(area)}. Use more validation images."
            )
        self.log_dict({f"val_auroc/{name}": value for name, value in finite.items()})


def score(task: Task) -> Metric:
    """Accuracy for multiclass; for multilabel the mean AUROC over labels that have one."""
    if task.multilabel:
        return LabelAUROC()
    return MulticlassAccuracy(num_classes=len(task.classes), average="micro")


class FrozenBackbone:
    """Freeze and release all layers except the last one with parameters.

    Frozen layers get no gradient and are in eval mode, so that running statistics and weights stay as they are;
    released ones are as they were before.

    Raises:
        ValueError: the last layer with parameters does not give the logits.
    """

    def __init__(self, classifier: Classifier) -> None:
        layers = [module for module in classifier.network.modules() if list(module.parameters(recurse=False))]
        classes, weight = len(classifier.task.classes), getattr(layers[-1], "weight", None) if layers else None
        if weight is None or len(weight) != classes:
            got = f"{type(layers[-1]).__name__}" if layers else "none"
            raise ValueError(
                f"frozen_epochs needs a network whose last layer with parameters gives the {classes} logits, got "
                f"{got}. Set it to 0."
            )
        head = layers[-1]
        around = [module for module in classifier.modules() if head in module.modules()]
        self._parameters = [p for p in classifier.parameters() if all(p is not other for other in head.parameters())]
        self._modules = [module for module in classifier.modules() if module not in around]
        self._before: tuple[list[nn.Parameter], list[nn.Module]] | None = None

    def freeze(self) -> None:
        """Freeze the layers that are not frozen yet."""
        if self._before is None:
            fitted = [member for member in self._parameters if member.requires_grad]
            self._before = fitted, [member for member in self._modules if member.training]
            self._set(*self._before, False)

    def release(self) -> None:
        """Restore what `freeze` has changed."""
        if self._before is not None:
            self._set(*self._before, True)
            self._before = None

    @staticmethod
    def _set(parameters: list[nn.Parameter], modules: list[nn.Module], fitted: bool) -> None:
        for parameter in parameters:
            parameter.requires_grad_(fitted)
            parameter.grad = None  # lest an optimizer steps by an old one
        for module in modules:
            module.training = fitted
