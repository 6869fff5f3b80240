"""Causal effects of interventions on image classifiers.

In a notebook, with any torch module:

    >>> import dovision as dv
    >>> classifier = dv.wrap(network, classes=1000, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    >>> dv.effect_map(classifier, image, dv.PixelGrid(7, 7)).map

Every component has its class here by name: `dv.PGD`, `dv.GradCAM`, `dv.EffectConsistency`;
`dv.component("detector", "max_softmax")` makes one with the settings of its yaml file.

Nothing is imported before its name is used: `import dovision` imports neither torch nor Hydra, Lightning or W&B. The
stub `__init__.pyi`, which `make tables` writes, gives type checkers and editors the type of each name.
"""

from importlib import import_module
from pathlib import Path as _Path
from typing import Any

_HOMES = {  # of what is no component
    "api": ("sites", "to_batch", "wrap"),
    "datasets.held_images": ("HeldImages",),
    "functional.outputs": ("BoxScore", "ClassShare", "MeanLogit"),
    "interfaces": ("Attack", "Classifier", "Detector", "Explainer", "Images", "Intervention"),
    "interventions.brush": ("Brush",),
    "interventions.interchange": ("Interchange",),
    "measurement.by_name": ("component",),
    "models.checkpoint": ("load",),
    "notebook.effect_map": ("EffectResult", "effect_map"),
    "notebook.example": ("example",),
    "types": ("CODE", "INPUT", "Batch", "Box", "Preprocessing", "Resize", "Task"),
}
_WITH_LIGHTNING = {  # which `from dovision import *` leaves alone
    "measurement.detection": ("Detection", "DetectionOptions"),
    "measurement.effects": ("EffectEvaluation", "EffectOptions"),
    "measurement.maps": ("MapEvaluation", "MapOptions"),
    "measurement.explanation_config": ("MapSettings",),
    "measurement.single_deletion": ("SingleDeletion",),
    "measurement.on_validation": ("OnValidation",),
    "notebook.attack": ("AttackedImages", "attack"),
    "notebook.compare": ("ComparedResults", "compare"),
    "notebook.detect": ("DetectedAttacks", "detect"),
    "notebook.effects": ("MeasuredEffects", "effects"),
    "notebook.explain": ("ExplainedImages", "explain"),
    "notebook.image_data": ("ImageData",),
    "results.resumable_writer": ("Resume",),
    "training.data_module": ("ImageDataModule",),
}


def _homes(*, heavy: bool = True) -> dict[str, str]:
    """Module of each public name, below `dovision`, such as attacks.gradient_ascent of PGD.

    Args:
        heavy: also of names whose modules import Lightning.
    """
    from dovision.config.component_names import component_homes

    named = {**_HOMES, **_WITH_LIGHTNING} if heavy else _HOMES
    named_homes = {name: home for home, names in named.items() for name in names}
    return {**component_homes(), **named_homes}


def _component_words(name: str) -> str:
    """Call that makes a component of the name of a class, such as KernelSHAP; empty if there is none."""
    from dovision.measurement.by_name import GROUPS, find

    for group in GROUPS:
        try:
            find(group, name)
        except ValueError:
            continue
        return f'. Write dv.component("{group}", "{name}").'
    return ""


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted(_homes(heavy=False))
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    if name == "captum":
        return import_module(f"{__name__}.{name}")
    module = _Path(__file__).with_name(name)  # which `from dovision import checks` asks for before it imports that
    is_module = module.is_dir() or module.with_suffix(".py").is_file()
    home = None if is_module or name.startswith("_") else _homes().get(name)
    if home is None:
        hint = "" if is_module or name.startswith("_") else _component_words(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), "captum", *_homes()} - {"Any", "import_module"})
