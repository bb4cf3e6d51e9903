"""Which items of a recipe apply to a platform and a choice of options. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from builder.errors import PlanError
from builder.recipe.suggest import one_of
from builder.recipe.types import Model

__all__ = ["choices", "chosen", "known"]


class Selectable(Protocol):
    """An item that may be limited to an accelerator and to an option's choice."""

    @property
    def on(self) -> Any: ...
    @property
    def when(self) -> Mapping[str, str]: ...


Item = TypeVar("Item", bound=Selectable)


def choices(model: Model, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return every option of `model` with its choice: the wanted one, or the default.

    Raises:
        PlanError: for an option or a choice that does not exist.
    """
    options = {option.name: option for option in model.options}
    for name, choice in wanted.items():
        if name not in options:
            raise PlanError(f"{model.name} has no option {name!r}", hint=one_of(name, options))
        if choice not in options[name].choices:
            hint = one_of(choice, options[name].choices)
            raise PlanError(f"option {name!r} of {model.name} has no choice {choice!r}", hint=hint)
    return {name: wanted.get(name, option.default) for name, option in options.items()}


def chosen(items: Iterable[Item], accelerator: str, choice: Mapping[str, str]) -> tuple[Item, ...]:
    """Return those of `items` that apply, in their order."""
    return tuple(
        item
        for item in items
        if item.on in (None, accelerator) and all(choice[name] == value for name, value in item.when.items())
    )


def known(items: Mapping[str, Any], name: str, what: str) -> Any:
    """Return `items[name]`.

    Raises:
        PlanError: with the nearest name, when there is none of that name.
    """
    if name not in items:
        raise PlanError(f"there is no {what} {name!r}", hint=one_of(name, items))
    return items[name]
