"""How one setting is written down."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


def setting(
    default: Any,
    help_text: str,
    *,
    alias: str | None = None,
    alias_values: Mapping[str, str] | None = None,
    choices: Sequence[str] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A field with its documentation.

    alias is another server's environment variable, alias_values what its values are called here.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help_text,
            "alias": alias,
            "alias_values": alias_values or {},
            "choices": choices,
            "minimum": minimum,
            "maximum": maximum,
        },
    )
