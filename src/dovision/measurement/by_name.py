"""Components by their names in the configuration, made with the settings that the commands give them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

from dovision import checks
from dovision.config.component_names import configuration_folder

GROUPS = ("attack", "dataset", "detector", "explainer", "fill", "intervention", "transform", "value")
_SEVERAL = ("detector", "explainer")  # of which a command takes several, by name
_SUCH_AS = {"attack": "pgd", "detector": "max_softmax", "explainer": "grad_cam", "intervention": "pixel_grid"}

_ADAPTERS = {  # class that takes objects and classes of a library, by group and library
    "explainer": {"captum": "Captum", "pytorch_grad_cam": "CAM"},
    "attack": {"foolbox": "FoolboxAttack"},
}
_T = TypeVar("_T")
Named: TypeAlias = _T | str | Sequence[_T | str] | Mapping[str, _T | str]  # one component or several


def component(group: str, name: str, settings: Mapping[str, Any] = MappingProxyType({}), seed: int = 0) -> Any:
    """Make a component by its name in `conf/`, as the commands do.

    Its class is also an attribute of `dovision`, for arguments written out: `dv.PGD(eps=0.1, steps=20)`.

    Args:
        group: attack, dataset, detector, explainer, fill, intervention, transform or value.
        name: such as pgd, grad_cam or entropy: the name of its yaml file.
        settings: settings of that file, by name, with other values, such as {"eps": "8/255"}.
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
        >>> dv.component("dataset", "digits").shape
        (1, 32, 32)
    """
    from dovision.config.composition import composed_component
    from dovision.config.inferred_settings import inferred_settings
    from dovision.config.sources import leaves

    checks.choice("group", group, GROUPS)
    names = sorted(path.stem for path in (configuration_folder() / group).glob("*.yaml"))
    checks.seed(seed)
    if group == "explainer" and name not in names and (method := captum_words(name)):
        raise ValueError(f"there is no explainer {name!r} in conf/explainer{method}")
    checks.choice(group, name, names)
    chosen = composed_component(group, name, seed, several=group in _SEVERAL)
    for key in checks.instance("settings", settings, Mapping, "a mapping, such as {'eps': 0.1}"):
        if key not in chosen or key == "_target_":
            raise ValueError(
                checks.unknown_key(f"{group} {name}", str(key), [option for option in chosen if option[0] != "_"])
            )
    missing = [where for where, value in leaves(chosen) if value == "???" and where.split(".")[0] not in settings]
    if missing:
        raise ValueError(f"{group} {name} must be given {', '.join(missing)}, got no value. Add it to settings.")
    inferred = inferred_settings({**chosen, **settings}) if group == "dataset" else {}
    return chosen.make(**{**settings, **inferred})


def captum_words(name: str) -> str:
    """Call that makes an explainer of one of captum's methods; empty if captum has none of this name."""
    from dovision.explainers.attributions import METHODS

    method = {snake_case(method): method for method in METHODS}.get(snake_case(name))
    return f'. Write dv.Captum("{method}").' if method else ""


def named_components(
    group: str, given: object, seed: int = 0, settings: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Components of a group by name; accepts names, objects, a list of these, or a mapping.

    Args:
        group: as of `component`.
        given: the name of a component, the component itself, a list of these, or a mapping from names to components.
        seed, settings: of those that are given by name.

    Raises:
        ValueError: none is given; one is neither a name nor a component of the group; two have one name.
    """
    if isinstance(given, Mapping):
        pairs = [(str(name), item) for name, item in given.items()]
    else:
        listed = list(given) if isinstance(given, (list, tuple)) else [given]
        pairs = [
            (
                item
                if isinstance(item, str)
                else snake_case(getattr(item, "name", getattr(item, "__name__", type(item).__name__))),
                item,
            )
            for item in listed
        ]
    if not pairs:
        raise ValueError(f"{group} must name at least one, got none.")
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{group} must have different names, got {twice!r} twice. Name them: {{'NAME': ...}}.")
    return {name: one_component(group, item, seed, settings) for name, item in pairs}


def one_component(group: str, given: object, seed: int = 0, settings: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """Component of a group by name, or the object itself; arguments as of `named_components`.

    Raises:
        ValueError: it is neither a name nor a component of the group; an intervention has no site.
    """
    from dovision import interfaces

    if isinstance(given, str):
        return component(group, given, settings, seed)
    library = str(getattr(given, "__module__", "")).partition(".")[0]
    if (adapter := _ADAPTERS.get(group, {}).get(library)) is not None:
        if group == "attack" and "eps" not in settings:
            raise ValueError(f"eps must be given with an attack of {library}, got none.")
        return getattr(import_module("dovision"), adapter)(given, **settings)
    article = "an" if group[0] in "aei" else "a"
    base = getattr(interfaces, group.capitalize())
    made = checks.instance(group, given, base, f"{article} {group}, or the name of one, such as {_SUCH_AS[group]!r}")
    if group == "intervention" and not isinstance(getattr(made, "site", None), str):
        name = type(made).__name__
        raise ValueError(
            f"{name} must have a site, got none. Set {name}.site = dovision.INPUT, or the name of a layer."
        )
    return made


def snake_case(name: str) -> str:
    """The name of a class in snake case: pixel_grid of PixelGrid, pgd of PGD, grad_cam of GradCAM."""
    joined = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return joined.lower()
