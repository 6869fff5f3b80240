"""Components from whatever stands for one: the rule of notebook, callbacks and commands."""

from __future__ import annotations

import functools
import inspect
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np
from torch import Tensor, nn

from dovision import checks, interfaces
from dovision.config.component_names import configuration_folder
from dovision.interventions.transform import Transform
from dovision.measurement import adapters

GROUPS = ("attack", "dataset", "detector", "explainer", "fill", "intervention", "transform", "value")
_SEVERAL = ("detector", "explainer")  # of which a command takes several, by name
_SUCH_AS = {"attack": "pgd", "detector": "max_softmax", "explainer": "grad_cam", "intervention": "pixel_grid"}
_TAKES = {  # arguments of a function that is a component
    "attack": ("batch", "classifier", "eps"),
    "detector": ("batch", "classifier"),
    "explainer": ("batch", "target", "classifier"),
    "intervention": ("image",),
}
LIBRARIES: Mapping[str, Mapping[str, tuple[str, str, str]]] = {  # by group and package: where its classes are, what
    "attack": {  # adapts them, and the argument that has their settings
        "foolbox": ("foolbox.attacks", "attacks.foolbox_attack.FoolboxAttack", "settings"),
        "torchattacks": ("torchattacks", "measurement.adapters.Torchattacks", "settings"),
    },
    "detector": {"pytorch_ood": ("pytorch_ood.detector", "detectors.pytorch_ood.PytorchOOD", "settings")},
    "explainer": {
        "captum": ("captum.attr", "explainers.attributions.Captum", "arguments"),
        "pytorch_grad_cam": ("pytorch_grad_cam", "explainers.class_activation_maps.CAM", "arguments"),
        "zennit": ("zennit.composites", "measurement.adapters.Zennit", "arguments"),
    },
}
_TARGET = re.compile(r"^_target_: \S*\.(\w+)", re.MULTILINE)  # of a yaml file
_T = TypeVar("_T")
Named: TypeAlias = _T | Any  # one component, each as of `one_component`, or several: a list, or a mapping from names


def component(group: str, name: str, settings: Mapping[str, Any] = MappingProxyType({}), seed: int = 0) -> Any:
    """Make a component by its name in `conf/`, as the commands do, or by that of a class of a library.

    Its class is also an attribute of `dovision`, for arguments written out: `dv.PGD(eps=0.1, steps=20)`.

    Args:
        group: attack, dataset, detector, explainer, fill, intervention, transform or value.
        name: such as pgd or grad_cam, the name of its yaml file, or that of its class, in any case; or of a class of
            foolbox, torchattacks, pytorch-ood, captum, pytorch-grad-cam or zennit, such as LayerCAM.
        settings: settings of that file, by name, with other values, such as {"eps": "8/255"}; or of the class.
        seed: of whatever it draws.

    Returns:
        The attack, dataset, detector, explainer, fill, intervention, transform or value.

    Raises:
        ValueError: there is no such group, component or setting; a setting has no default and is not given; the
            component refuses its arguments.
        ImportError: it needs a library that is not installed; the error says how to install it.

    Example:
        >>> import dovision as dv
        >>> dv.component("attack", "pgd", {"eps": ["2/255", "8/255"], "steps": 5}).norm
        'linf'
        >>> dv.component("explainer", "DeepLift").name
        'DeepLift'
    """
    from dovision.config.composition import composed_component
    from dovision.config.inferred_settings import inferred_settings
    from dovision.config.sources import leaves

    checks.choice("group", group, GROUPS)
    checks.seed(seed)
    checks.instance("settings", settings, Mapping, "a mapping, such as {'eps': 0.1}")
    target = find(group, name)
    if not isinstance(target, str):
        return one_component(group, target, seed, settings)
    chosen = composed_component(group, target, seed, several=group in _SEVERAL)
    for key in settings:
        if key not in chosen or key == "_target_":
            raise ValueError(
                checks.unknown_key(f"{group} {target}", str(key), [option for option in chosen if option[0] != "_"])
            )
    missing = [where for where, value in leaves(chosen) if value == "???" and where.split(".")[0] not in settings]
    if missing:
        raise ValueError(f"{group} {target} must be given {', '.join(missing)}, got no value. Add it to settings.")
    inferred = inferred_settings({**chosen, **settings}) if group == "dataset" else {}
    return chosen.make(**{**settings, **inferred})


def find(group: str, name: str) -> str | type[Any]:
    """Name of the yaml file, or class of a library, that a name in any case means.

    Raises:
        ValueError: there is none; the error says what is near, or what else has this name.
    """
    spelling, files = _spelled(name), _files(group)
    if (target := files.get(spelling) or _classes(group).get(spelling)) is not None:
        return target
    for other in _SUCH_AS:
        if spelling in _files(other) or spelling in _classes(other):
            raise ValueError(f"{group} must be {_a(group)}, got {name!r}, which is {_a(other)}.")
    names = {key: item.__name__ for key, item in _classes(group).items()} | files
    near = dict.fromkeys(names[key] for key in checks.nearest(spelling, names))
    remedy = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"{group} must be one of {checks.listed(sorted({*files.values()}))}, got {name!r}.{remedy}")


@functools.cache
def _files(group: str) -> dict[str, str]:
    """Names of a group's yaml files by how they are spelled, and by the class of the file if no other has it."""
    texts = {path.stem: path.read_text("utf-8") for path in sorted((configuration_folder() / group).glob("*.yaml"))}
    targets = {file: target[1] for file, text in texts.items() if (target := _TARGET.search(text))}
    count = Counter(targets.values())
    by_class = {_spelled(target): file for file, target in targets.items() if count[target] == 1}
    return by_class | {_spelled(file): file for file in texts}


@functools.cache
def _classes(group: str) -> dict[str, type[Any]]:
    """Classes of the libraries of a group that are installed, by how they are spelled."""
    classes: dict[str, type[Any]] = {}
    for module, _, _ in LIBRARIES.get(group, {}).values():
        with suppress(ImportError):
            members = inspect.getmembers(import_module(module), inspect.isclass)
            classes |= {_spelled(name): item for name, item in members if not inspect.isabstract(item)}
    return classes


def named_components(
    group: str, components: object, seed: int = 0, settings: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Components of a group by name, from one that `one_component` takes, a list of these, or a mapping.

    Args:
        group, seed, settings: as of `one_component`.
        components: those of a list are named by their yaml files or classes.

    Raises:
        ValueError: there is none; one is no component of the group; two have one name.
    """
    if isinstance(components, Mapping):
        pairs = [(str(name), item) for name, item in components.items()]
    else:
        listed = list(components) if isinstance(components, (list, tuple)) else [components]
        pairs = [(_name_of(group, item), item) for item in listed]
    if not pairs:
        raise ValueError(f"{group} must name at least one, got none.")
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{group} must have different names, got {twice!r} twice. Name them: {{'NAME': ...}}.")
    return {name: one_component(group, item, seed, settings) for name, item in pairs}


def one_component(group: str, value: Any, seed: int = 0, settings: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """Component of a group, from whatever stands for one.

    Args:
        group: attack, detector, explainer or intervention.
        value: a name as of `component`; an object or a class of the group, or of a library for it; a function of
            (batch, classifier, eps) for an attack, of (batch, classifier) for a detector, of (batch, target,
            classifier) for an explainer, of images for an intervention, or several by name; a partial of any of these;
            for an explainer also an array of maps that exist already, shape (N, H, W).
        seed, settings: of what is made here.

    Raises:
        ValueError: it is nothing of the kind, and the error says what it is; eps is missing; there is no site.
    """
    if isinstance(value, str):
        return component(group, value, settings, seed)
    base: Any = getattr(interfaces, group.capitalize())
    component_object = value if isinstance(value, base) else _adapted(group, base, value, seed, dict(settings))
    if group == "intervention" and not isinstance(getattr(component_object, "site", None), str):
        name = type(component_object).__name__
        raise ValueError(
            f"{name} must have a site, got none. Set {name}.site = dovision.INPUT, or the name of a layer."
        )
    return component_object


def _adapted(group: str, base: type[Any], value: Any, seed: int, settings: dict[str, Any]) -> Any:
    """Component of a group from what is no object of it."""
    if isinstance(value, functools.partial) and not value.args:
        value, settings = value.func, {**value.keywords, **settings}
    if (package := _package(value)) in LIBRARIES.get(group, {}):
        _, adapter, argument = LIBRARIES[group][package]
        home, _, name = f"dovision.{adapter}".rpartition(".")
        return _made(group, getattr(import_module(home), name), [value], seed, settings, argument)
    if inspect.isclass(value) and issubclass(value, base):
        file = _files(group).get(_spelled(value.__name__)) if package == "dovision" else None
        return component(group, file, settings, seed) if file else _made(group, value, [], seed, settings)
    if group == "explainer" and isinstance(value, (np.ndarray, Tensor)):
        return adapters.StoredMaps(value)
    reserved = () if group == "intervention" else ("eps", "norm")
    if (further := [key for key in settings if key not in reserved]) and callable(value):
        value = functools.partial(value, **{key: settings.pop(key) for key in further})
    functions = value if isinstance(value, Mapping) and value else {_name_of(group, value): value}
    if (functions is value and group != "intervention") or not all(_is_function(group, f) for f in functions.values()):
        such = f"{_a(group)}, or the name of one, such as {_SUCH_AS[group]!r}"
        raise ValueError(f"{group} must be {such}, got {_in_words(value, group)}")
    if group == "intervention":
        of_images = {name: function for name, function in functions.items() if adapters.takes(function, 1)}
        return Transform({**functions, **{name: adapters.ImageFunction(f) for name, f in of_images.items()}})
    return _made(group, getattr(adapters, f"{group.capitalize()}Function"), [value], seed, settings)


def _made(group: str, make: Any, values: list[Any], seed: int, settings: dict[str, Any], argument: str = "") -> Any:
    """Call a class with the settings that it takes, and with the others in one argument.

    Raises:
        ValueError: it needs more, or takes no such setting.
    """
    parameters = inspect.signature(make).parameters
    settings = ({"seed": seed} if "seed" in parameters else {}) | settings
    if argument and (further := {key: settings.pop(key) for key in [*settings] if key not in parameters}):
        settings[argument] = further
    eps = parameters.get("eps")
    if eps is not None and eps.default is eps.empty and "eps" not in settings:
        name = _class_name((values or [make])[0])
        raise ValueError(f"eps must be given with {name}, got none. Write eps='8/255', for one.")
    return adapters.called(group, make, *values, **settings)


def _package(value: Any) -> str:
    """Package of a class or a function, or of the class of an object."""
    home = value if inspect.isclass(value) or inspect.isroutine(value) else type(value)
    return str(home.__module__).partition(".")[0]


def _is_function(group: str, value: Any) -> bool:
    """Return whether a value can be called as a component of the group that is a function."""
    if not callable(value) or inspect.isclass(value) or _group_of(value):
        return False
    if isinstance(value, nn.Module) and any(True for _ in value.parameters()):
        return False
    counts = (1, 2) if group == "intervention" else (len(_TAKES[group]),)
    function = value.forward if isinstance(value, nn.Module) else value
    return any(adapters.takes(function, count) for count in counts)


def _group_of(value: Any) -> str | None:
    """Group of a component, a class of components, or either of a library."""
    for group in _TAKES:
        base: Any = getattr(interfaces, group.capitalize())
        if isinstance(value, base) or (inspect.isclass(value) and issubclass(value, base)):
            return group
    return next((group for group, libraries in LIBRARIES.items() if _package(value) in libraries), None)


def _in_words(value: Any, group: str) -> str:
    """What a value is that is no component of a group, for the end of an error."""
    if (other := _group_of(value)) is not None:
        return f"{_a(other)}, {_class_name(value)}."
    if isinstance(value, nn.Module):
        return f"a network, {_class_name(value)}."
    if inspect.isroutine(value):
        arguments = ", ".join(_TAKES[group])
        return f"the function {_class_name(value)}{inspect.signature(value)}. It must take ({arguments})."
    return checks.in_words(value)


def _class_name(value: Any) -> str:
    value = value.func if isinstance(value, functools.partial) else value
    return getattr(value, "__name__", type(value).__name__)


def _name_of(group: str, value: Any) -> str:
    """Name of a component: that of its yaml file, its own, or that of its class or function."""
    target = find(group, value) if isinstance(value, str) else value
    if isinstance(target, str):
        return target
    if isinstance(target, (np.ndarray, Tensor)):
        return "maps"
    name = getattr(target, "name", None)
    name = name if isinstance(name, str) else _class_name(target)
    return snake_case(name) if name.isidentifier() else "function"


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aei' else 'a'} {noun}"


def _spelled(name: str) -> str:
    """A name without case and signs: gradcamplusplus of GradCAM++ and of grad_cam_plus_plus."""
    return re.sub(r"[\W_]", "", str(name).replace("+", "plus")).lower()


def snake_case(name: str) -> str:
    """The name of a class in snake case: pixel_grid of PixelGrid, pgd of PGD, grad_cam of GradCAM."""
    joined = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return joined.lower()
