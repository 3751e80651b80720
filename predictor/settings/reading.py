"""Settings out of flags and environment, and the flags' help."""

import argparse
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from predictor.errors import BadSetting
from predictor.settings.models import (
    CacheSettings,
    DriftSettings,
    ModelSettings,
    RepositorySettings,
)
from predictor.settings.serving import (
    AccessSettings,
    BatchingSettings,
    RequestSettings,
    ServerSettings,
)


@dataclass(frozen=True)
class Settings:
    model: ModelSettings = dataclasses.field(default_factory=ModelSettings)
    request: RequestSettings = dataclasses.field(default_factory=RequestSettings)
    batching: BatchingSettings = dataclasses.field(default_factory=BatchingSettings)
    server: ServerSettings = dataclasses.field(default_factory=ServerSettings)
    repository: RepositorySettings = dataclasses.field(default_factory=RepositorySettings)
    cache: CacheSettings = dataclasses.field(default_factory=CacheSettings)
    drift: DriftSettings = dataclasses.field(default_factory=DriftSettings)
    access: AccessSettings = dataclasses.field(default_factory=AccessSettings)


GROUPS = {
    "model": ModelSettings,
    "repository": RepositorySettings,
    "request": RequestSettings,
    "batching": BatchingSettings,
    "cache": CacheSettings,
    "drift": DriftSettings,
    "access": AccessSettings,
    "server": ServerSettings,
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag a setting, in groups; a flag that is not given leaves no trace in the namespace."""
    for group in GROUPS.values():
        section = parser.add_argument_group((group.__doc__ or "").rstrip("."))
        for field in dataclasses.fields(group):
            names = list(dict.fromkeys([_flag(field.name, "-"), _flag(field.name, "_")]))
            section.add_argument(
                *names,
                dest=field.name,
                default=argparse.SUPPRESS,
                metavar=_metavar(field),
                help=_help(field),
                nargs="?" if field.type is bool else None,
                const="true" if field.type is bool else None,
            )


def _flag(name: str, separator: str) -> str:
    return "--" + name.replace("_", separator)


def _metavar(field: dataclasses.Field[Any]) -> str:
    choices = field.metadata["choices"]
    if choices:
        return "{" + ",".join(choices) + "}"
    kinds: dict[Any, str] = {bool: "BOOL", int: "N", float: "X"}
    return kinds.get(field.type, "TEXT")


def _help(field: dataclasses.Field[Any]) -> str:
    names = [f"PREDICTOR_{field.name.upper()}"]
    if field.metadata["alias"]:
        names.append(field.metadata["alias"])
    shown = "''" if field.default == "" else str(field.default).lower()
    return f"{field.metadata['help']} [default {shown}; {', '.join(names)}]".replace("%", "%%")


def read_settings(
    flags: Mapping[str, str], environment: Mapping[str, str] = os.environ
) -> Settings:
    """Settings from parsed flags (texts by field name) and the environment.

    Raises:
        BadSetting: a value is not of its type, not one of its choices, or out of its bounds.
    """
    groups = {
        name: group(
            **{field.name: _value(field, flags, environment) for field in dataclasses.fields(group)}
        )
        for name, group in GROUPS.items()
    }
    return Settings(**groups)


def _value(
    field: dataclasses.Field[Any], flags: Mapping[str, str], environment: Mapping[str, str]
) -> Any:
    own = f"PREDICTOR_{field.name.upper()}"
    alias = field.metadata["alias"] or ""
    if field.name in flags:
        return _parse(field, flags[field.name], _flag(field.name, "-"))
    for variable in (own, alias):
        text = environment.get(variable, "")
        if text != "":
            if variable == alias:
                text = field.metadata["alias_values"].get(text, text)
            return _parse(field, text, variable)
    return field.default


def _parse(field: dataclasses.Field[Any], text: str, origin: str) -> Any:
    choices, minimum = field.metadata["choices"], field.metadata["minimum"]
    kind: Any = field.type
    if kind is bool:
        if text.lower() not in {"true", "false", "1", "0"}:
            raise BadSetting(f"{origin}: {text!r} is not true or false")
        return text.lower() in {"true", "1"}
    try:
        value = kind(text)
    except ValueError as error:
        raise BadSetting(f"{origin}: {text!r} is not a number") from error
    if choices and value not in choices:
        raise BadSetting(f"{origin}: {text!r} is not one of {', '.join(choices)}")
    if minimum is not None and not value >= minimum:
        raise BadSetting(f"{origin}: {text} is under the minimum {minimum}")
    maximum = field.metadata["maximum"]
    if maximum is not None and value > maximum:
        raise BadSetting(f"{origin}: {text} is over the maximum {maximum}")
    return value
