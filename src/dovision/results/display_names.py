"""Display names of metrics, settings and components: one table for pages, figures, terminals and summaries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from dovision.config.row_choices import NAMED_ROWS, NO_ROWS

MEAN_EFFECT = "mean_abs_expected_effect"
WORST_AUROC = "worst_case_auroc"  # of a detector
METRIC_HEADS = {
    "images": "images",
    "prevalence": "prevalence",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "balanced_accuracy": "balanced accuracy",
    "classifier_auroc": "AUROC",
    "auroc": "AUROC of |expected effect|, not adaptive",
    "calibration_error": "calibration error",
    "success_rate": "attack success",
    "success_8bit": "success at 8 bits",
    "robust_accuracy": "robust accuracy",
    MEAN_EFFECT: "mean |expected effect|",
    "true_effects": "rank correlation with true effects",
    "pooled_true_effects": "pooled rank correlation with true effects",
    "pooled_true_effects_given_area": "pooled rank correlation with true effects, given the area of the box",
    "energy": "energy inside",
    "pointing": "pointing game",
    "hit_rate": "hit rate",
    "iou": "IoU at equal area",
    "deletion": "deletion area",
    "insertion": "insertion area",
    "single_deletion": "rank correlation with single deletions",
    "single_deletion_soft": "rank correlation with soft-edged single deletions",
    "single_deletion_content": "rank correlation with content swaps of single patches",
    "stability": "stability",
    WORST_AUROC: "worst-case AUROC",
}
SETTINGS = {  # by the end of their dotted name
    "dataset.shortcut": "strength of the shortcut",
    "attack.eps": "epsilon",
    "intervention.rows": "grid",
    "intervention.columns": "grid columns",
    "model.name": "network",
    "training.autoencoder.epochs": "autoencoder epochs",
    "optimizer.lr": "learning rate",
}
COMPONENTS = {  # by their class, or their name in the configuration; others by its words
    "linf": "L-infinity",
    "l2": "L2",
    "l0": "L0",
    "l1": "L1",
    "AutoAttack": "AutoAttack",
    "ChestXray14": "ChestX-ray14",
    "EADAttack": "EAD",
    "L2CarliniWagnerAttack": "Carlini-Wagner",
    "Inpaint": "inpainting",
    "PixelGrid": "grid of cells",
    "RegionBox": "boxes of objects",
    "TargetedAPGD": "targeted APGD",
    "apgd": "APGD",
    "apgd_targeted": "targeted APGD",
    "authors_mnist_cnn": "the authors' MNIST CNN",
    "carlini_wagner": "Carlini-Wagner",
    "cam": "CAM",
    "chexnet": "CheXNet",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "carlini_wagner_10": "Carlini-Wagner, confidence 10",
    "ead": "EAD (L1)",
    "ead_10": "EAD (L1), confidence 10",
    "effect_map_combined": "combined effect map",
    "fab": "FAB",
    "fgsm": "FGSM",
    "grad_cam": "Grad-CAM",
    "integrated_gradients_two": "integrated gradients (two blanks)",
    "kernel_shap": "KernelSHAP",
    "l2_pgd": "L2 PGD",
    "mahalanobis": "Mahalanobis",
    "margin_pgd": "margin PGD",
    "max_softmax": "maximum softmax probability",
    "max_softmax_two_sided": "maximum softmax probability, two-sided",
    "mifgsm": "MI-FGSM",
    "ml_loo": "ML-LOO",
    "pgd": "PGD",
    "random_sign": "random-sign noise",
    "random_sign_l1": "random pixels (L1)",
    "random_sign_l2": "random-sign noise (L2)",
    "random_spatial": "random rotation and shift",
    "rise": "RISE",
    "score_cam": "Score-CAM",
    "small_cnn": "small CNN",
    "small_resnet": "small ResNet",
    "smooth_grad": "SmoothGrad",
    "spatial": "rotation and shift",
    "square": "Square",
}
SPEED = ("batch_size", "chunk", "engine")  # settings on which no result depends
GREYS = {0.0: "black", 1.0: "white"}  # fills that are one value
_WORDS_OF_VALUES: Mapping[str, str] = MappingProxyType({"True": "yes", "False": "no", "": "none", "-": "none"})


def component_name(name: str) -> str:
    """Display name of a component, from its class or its configuration name."""
    spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()  # a class as its name in the configuration
    if display := COMPONENTS.get(name, COMPONENTS.get(spelled)):
        return display
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ")
    return words if words.isupper() else words.lower()


def metric_head(metric: str) -> str:
    """Column head of a metric; "METRIC/NAME" includes the display name of the explainer or detector."""
    name, of, component = metric.partition("/")
    return f"{METRIC_HEADS[name]} of {display_name(component)}" if of else METRIC_HEADS[name]


def display_name(name: str) -> str:
    """Display name of an explainer, detector, attack or condition, such as "FGSM, epsilon 0.1"."""
    head, comma, rest = name.partition(",")
    head = re.sub(r"^[a-z][a-z0-9_]*(?=$| eps=|: )", lambda match: component_name(match[0]), head)
    return re.sub(r"\beps=", "epsilon ", f"{head}{comma}{rest}")


def setting_name(key: str) -> str:
    """Display name of a setting, by its dotted name."""
    ends = [key.split(".", start)[-1] for start in range(key.count(".") + 1)]
    named = [SETTINGS[end] for end in ends if end in SETTINGS]
    return named[0] if named else ends[-1].rpartition("@")[2].replace("_", " ")


def setting_text(key: str, value: str) -> str:
    """Format a setting with its value, such as "grid 4 x 4", or a value that explains itself alone."""
    shown = value_text(value)
    speaks = key.count(".") == 0 and re.fullmatch(r"[a-zA-Z_]\w*", value) and value not in _WORDS_OF_VALUES
    return shown if speaks else f"{setting_name(key)} {shown}"


def value_text(value: str) -> str:
    """Format a setting's value, with display names of components."""
    if value in _WORDS_OF_VALUES:
        return _WORDS_OF_VALUES[value]
    listed = [component_name(word) if re.fullmatch(r"[A-Za-z_]\w*", word) else word for word in value.split(", ")]
    return ", ".join(listed)


def component_text(component: object) -> str:
    """Describe a component of a configuration, such as "4 x 4 cells, black" or "PGD (steps 10, restarts 1)".

    Long lists, plain mappings, places on somebody's disk and settings of speed are left out.
    """
    if isinstance(component, list):
        return ", ".join(map(component_text, component))
    if isinstance(component, bool) or not isinstance(component, Mapping):
        return value_text(str(component)) if isinstance(component, bool | str) else f"{component}"
    name = str(component.get("_target_", "")).rpartition(".")[2]
    if name == "Constant" and component.get("value") in GREYS:
        return GREYS[component["value"]]
    if name == "PixelGrid":
        fill = component_text(component.get("fill", {}))
        return f"{component.get('rows')} x {component.get('columns')} cells, {fill}"
    left_out = {key for key in component if str(key).startswith("_") or key in SPEED}
    values = {key: value for key, value in component.items() if key not in left_out and _brief(value)}
    inside = []
    for key, value in values.items():
        text, setting = component_text(value), "epsilon" if key == "eps" else setting_name(str(key))
        inside.append(text if text.endswith(f" {setting}") else f"{setting} {text}")
    return f"{component_name(name)} ({', '.join(inside)})" if inside else component_name(name)


def _brief(value: object) -> bool:
    """Return whether a value fits a line: no long list, plain mapping, or absolute path."""
    if isinstance(value, Mapping):
        return "_target_" in value
    if isinstance(value, list):
        return 0 < len(value) <= 8
    return value is not None and not (isinstance(value, str) and Path(value).is_absolute())


_SUMS = "Averages and intervals are over all images and classes"
_LEFT_OUT = "effects of objects and masks are left out; evaluation.rows=all has them"
ROWS_NOTE = {  # by evaluation.rows
    NAMED_ROWS: f"Image by image, effects are those of labels and predictions alone. {_SUMS}; {_LEFT_OUT}.",
    NO_ROWS: f"Image by image, there are no effects. {_SUMS}; maps of single images, {_LEFT_OUT}.",
}
