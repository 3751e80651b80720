"""Describes a setting by its type: its flag, its variables, its limits and its meaning.

A setting is declared as `name: Annotated[type, Meta(...)] = default`. The description is the help
text, `ge` and `le` are the limits (both included), and a `Literal` lists the choices.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec


class Alias(msgspec.Struct, frozen=True):
    """The environment variable by which another server knows the same setting."""

    variable: str
    # Our values for the other server's values.
    values: Mapping[str, str] = msgspec.field(default_factory=dict)


def alias(variable: str, **values: str) -> dict[str, Alias]:
    """The `extra` of a setting that may also be read from another server's variable."""
    return {"alias": Alias(variable, values)}


class SettingField(msgspec.Struct, frozen=True):
    """One setting as the flags, the reader and the documentation see it."""

    name: str
    # The annotated type, to which msgspec converts a text.
    annotation: Any
    default: bool | int | float | str | tuple[str, ...]
    alias: Alias | None

    @property
    def base(self) -> Any:
        """The type without its limits: bool, int, float, str, a Literal or a tuple of texts."""
        return get_args(self.annotation)[0]

    @property
    def is_repeatable(self) -> bool:
        """Whether the flag may be given several times, each time with one text."""
        return get_origin(self.base) is tuple

    @property
    def description(self) -> str:
        return self._meta.description or ""

    @property
    def flag(self) -> str:
        return flag_of(self.name)

    @property
    def variables(self) -> list[str]:
        """The environment variables, in the order of precedence."""
        others = [self.alias.variable] if self.alias else []
        return [variable_of(self.name), *others]

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that a setting with choices may have; empty for any other."""
        return get_args(self.base) if get_origin(self.base) is Literal else ()

    @property
    def limits(self) -> str:
        """What a value has to be, as a noun: `a whole number from 0 to 65535`."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.is_repeatable:
            return "texts: one for each flag, in a variable one a line"
        names: dict[Any, str] = {bool: "true or false", int: "a whole number", float: "a number"}
        name = names.get(self.base, "a text")
        if self._meta.min_length:
            name = f"{name} of at least {self._meta.min_length} character"
        least, most = self._meta.ge, self._meta.le
        if least is not None and most is not None:
            return f"{name} from {least:g} to {most:g}"
        return name if least is None else f"{name} of at least {least:g}"

    @property
    def default_text(self) -> str:
        """The default as it would be written in a flag; empty for the empty text."""
        if isinstance(self.default, bool):
            return str(self.default).lower()
        if isinstance(self.default, tuple):
            return " ".join(self.default)
        if isinstance(self.default, float) and self.default.is_integer():
            return str(int(self.default))
        return str(self.default)

    @property
    def _meta(self) -> msgspec.Meta:
        meta: msgspec.Meta = get_args(self.annotation)[1]
        return meta


def fields_of(group: type[msgspec.Struct]) -> Iterator[SettingField]:
    """The settings of a group, in the order of their declaration."""
    for info in msgspec.structs.fields(group):
        extra = get_args(info.type)[1].extra or {}
        yield SettingField(info.name, info.type, info.default, extra.get("alias"))


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    return f"PREDICTOR_{name.upper()}"
