"""Values of a config: compared with what a signature says that they are, and made a dataclass."""

import ast
import difflib
import inspect
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from numbers import Real
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_SEQUENCES: tuple[Any, ...] = (list, tuple, Sequence, Iterable)
_MAPPINGS: tuple[Any, ...] = (dict, Mapping)
# What is judged, and what it is called.
_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    **dict.fromkeys(_SEQUENCES, "a list"),
    **dict.fromkeys(_MAPPINGS, "a dict"),
    type(None): "None",
}

T = TypeVar("T")


def from_cfg(cls: type[T], cfg: dict[str, Any] | None, name: str) -> T:
    """Build a settings dataclass from a config dict.

    Args:
        cls: the dataclass.
        cfg: its values; None for all defaults.
        name: how the user calls this dict.

    Returns:
        The settings.

    Raises:
        ValueError: naming an unknown key and the nearest right one, or a value of a wrong type.
    """
    cfg = dict(cfg or {})
    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    for key, value in cfg.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"{name} has no entry {key!r}: {hint}")
        wanted = wrong_type(value, hints[key])
        if wanted is not None:
            raise ValueError(f"{name}.{key} must be {wanted}, got {value!r}")
    return cls(**cfg)


def wrong_type(value: Any, hint: Any) -> str | None:
    """Say what a value ought to be, if it is surely something else.

    Args:
        value: A value of a config.
        hint: The type that an annotation gives; with types other than numbers, texts, lists and
            dicts in it, everything is right, and so is None, which stands for "not given".

    Returns:
        Such as ``'a number or None'``; None if the value may be right.
    """
    members = _members(hint)
    if value is None or not members or not isinstance(value, (Real, str, list, tuple, Mapping)):
        return None
    if any(_fits(value, member) for member in members):
        return None
    return " or ".join(dict.fromkeys(_NAMES[member] for member in members))


def _members(hint: Any) -> list[Any]:
    """Take a union apart; empty where a member is of a kind that is not judged."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    bare = [get_origin(kind) or kind for kind in kinds]
    return bare if all(kind in _NAMES for kind in bare) else []


def _fits(value: Any, kind: Any) -> bool:
    if kind in (int, float, bool):
        return isinstance(value, Real) and (kind is not int or float(value).is_integer())
    if kind is str:
        return isinstance(value, str)
    if kind in _SEQUENCES:
        return isinstance(value, (list, tuple))
    return isinstance(value, Mapping) if kind in _MAPPINGS else value is None


def wrong_arguments(component: Any, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name the arguments of a component that are surely of the wrong type.

    Others' annotations are not always true: of their components only texts in the place of
    numbers are named. Unknown arguments are not judged.

    Yields:
        Argument, and what it ought to be.
    """
    ours = str(getattr(component, "__module__", "")).startswith("afa.")
    for name, hint in _hints(component).items():
        if name in values and (ours or isinstance(values[name], str)):
            wanted = wrong_type(values[name], hint)
            if wanted is not None:
                yield name, wanted


def called_functions(component: Any) -> list[Any]:
    """List what takes the arguments of a component: behind ``**kwargs`` its parents' constructors.

    Args:
        component: A class or function.
    """
    if not inspect.isclass(component):
        return [component]
    found = [vars(cls)["__init__"] for cls in component.__mro__[:-1] if "__init__" in vars(cls)]
    last = next((i for i, function in enumerate(found) if not passes_on(function)), len(found))
    return found[: last + 1]


def parameters_of(component: Any) -> dict[str, inspect.Parameter]:
    """Collect the parameters of a component by name, those of a class before its parents'."""
    found: dict[str, inspect.Parameter] = {}
    for function in called_functions(component):
        found = {**inspect.signature(function).parameters, **found}
    return found


def passes_on(function: Any) -> bool:
    """Tell whether a function has ``**kwargs``, so that it may take any argument."""
    parameters = inspect.signature(function).parameters.values()
    return any(param.kind is inspect.Parameter.VAR_KEYWORD for param in parameters)


def hands_elsewhere(function: Any) -> bool:
    """Tell whether a constructor hands its ``**kwargs`` to anything but its parent's constructor.

    Looking into them (``kwargs.get("x")``) is not handing on. False where there is no source.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError):
        return False
    if not isinstance(tree, ast.FunctionDef) or tree.args.kwarg is None:
        return False
    name, used, harmless = tree.args.kwarg.arg, set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == name:
            used.add(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".__init__"):
            harmless |= {keyword.value for keyword in node.keywords if keyword.arg is None}
        elif isinstance(node, (ast.Attribute, ast.Subscript)):
            harmless.add(node.value)
        elif isinstance(node, ast.Compare):
            harmless |= set(node.comparators)
    return bool(used - harmless)


def _hints(component: Any) -> dict[str, Any]:
    """Collect the annotated types of the arguments."""
    hints: dict[str, Any] = {}
    for function in called_functions(component):
        with suppress(NameError, TypeError, AttributeError):  # that only a type checker imports
            hints = {**get_type_hints(function), **hints}
    return hints
