"""Arguments that several commands read; each error is one line with a hint."""

import argparse
from pathlib import Path
from typing import cast, get_args

from predictor.errors import BadSetting
from predictor.settings import VariantChoice


def directory(text: str) -> Path:
    """An existing directory.

    Raises:
        BadSetting: there is no such directory.
    """
    path = Path(text)
    if not path.is_dir():
        raise BadSetting(f"{text}: no such directory")
    return path


def number(flag: str, text: str, *, minimum: float, maximum: float = float("inf")) -> float:
    """A number between the bounds, both inclusive.

    Raises:
        BadSetting: the text is not a number, or the number is out of bounds.
    """
    try:
        value = float(text)
    except ValueError as error:
        raise BadSetting(f"{flag}: {text!r} is not a number") from error
    if not minimum <= value <= maximum:
        raise BadSetting(f"{flag}: {text} is not between {minimum:g} and {maximum:g}")
    return value


def counts(flag: str, text: str) -> list[int]:
    """Whole numbers of at least 1 from a comma-separated list: ascending, without duplicates.

    Raises:
        BadSetting: the text is no such list.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise BadSetting(f"{flag}: {text!r} is not a list of numbers like 1,2,4")
    return sorted({int(part) for part in parts})


def variant(flag: str, text: str) -> VariantChoice:
    """The name of a variant, or `auto` for the one that the server would choose.

    Raises:
        BadSetting: there is no such variant.
    """
    choices = get_args(VariantChoice)
    if text not in choices:
        raise BadSetting(f"{flag}: {text!r} is not one of {', '.join(choices)}")
    return cast(VariantChoice, text)


def examples(text: str) -> dict[str, object]:
    """Keyword arguments of a parser whose help ends with a text that keeps its line breaks."""
    return {
        "epilog": text,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
