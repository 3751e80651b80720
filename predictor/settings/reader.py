"""Reads the settings from the texts of flags and environment variables."""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from predictor.errors import BadSetting
from predictor.settings.fields import SettingField, fields_of
from predictor.settings.groups import GROUPS, Settings
from predictor.settings.retired import refuse_retired
from predictor.settings.served_names import with_served_names
from predictor.settings.service_links import service_links


def read_settings(
    flags: Mapping[str, str | list[str]], environment: Mapping[str, str] = os.environ
) -> Settings:
    """Read every setting from its flag, else from `PREDICTOR_<NAME>`, else from TEI's variable.

    Args:
        flags: the texts of the flags that were given, by the name of the setting; a list where
            the flag may be repeated.
        environment: variables by name; an empty one counts as not set, and so does a service link.

    Raises:
        BadSetting: a value is not what its setting takes, or a name was retired.
    """
    flags = with_served_names(flags)
    links = service_links(environment)
    environment = {name: value for name, value in environment.items() if name not in links}
    refuse_retired(flags, environment)
    groups: dict[str, Any] = {
        name: group(**{field.name: _value(field, flags, environment) for field in fields_of(group)})
        for name, group in GROUPS.items()
    }
    return Settings(**groups)


def _value(
    field: SettingField, flags: Mapping[str, str | list[str]], environment: Mapping[str, str]
) -> Any:
    if field.is_repeatable:
        if field.name in flags:
            return tuple(text for text in flags[field.name] if text)
        lines = environment.get(field.variables[0], "").splitlines()
        return tuple(line for line in lines if line) or field.default
    if field.name in flags:
        return _convert(field, str(flags[field.name]), field.flag)
    for variable in field.variables:
        text = environment.get(variable, "")
        if text:
            if field.alias and variable == field.alias.variable:
                text = field.alias.values.get(text, text)
            return _convert(field, text, variable)
    return field.default


def _convert(field: SettingField, text: str, origin: str) -> Any:
    """Convert a text to a value; an error names `origin`, the flag or the variable.

    Python reads the numbers, because msgspec refuses " 7", ".5" and "1_000"; it checks the limits.
    """
    try:
        value = field.base(text) if field.base in (int, float) else text
        return msgspec.convert(value, field.annotation, strict=False)
    except (ValueError, msgspec.ValidationError):
        raise BadSetting(f"{origin}: {text!r} is not {field.limits}") from None
