"""What the commands share in reading their arguments: each fault is one line with the mend."""

import argparse
from pathlib import Path

from predictor.engine.bundle import VARIANTS
from predictor.errors import BadSetting


def directory(text: str) -> Path:
    """An existing directory.

    Raises:
        BadSetting: there is none of that name.
    """
    path = Path(text)
    if not path.is_dir():
        raise BadSetting(f"{text}: no such directory")
    return path


def number(flag: str, text: str, *, minimum: float, maximum: float = float("inf")) -> float:
    """A number between the bounds, both included.

    Raises:
        BadSetting: it is none, or out of bounds.
    """
    try:
        value = float(text)
    except ValueError as error:
        raise BadSetting(f"{flag}: {text!r} is not a number") from error
    if not minimum <= value <= maximum:
        raise BadSetting(f"{flag}: {text} is not between {minimum:g} and {maximum:g}")
    return value


def counts(flag: str, text: str) -> list[int]:
    """Whole numbers over 0, separated by commas, ascending and each once.

    Raises:
        BadSetting: it is no such list.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise BadSetting(f"{flag}: {text!r} is not a list of numbers like 1,2,4")
    return sorted({int(part) for part in parts})


def variant(flag: str, text: str) -> str:
    """The name of a variant, or `auto`: the one that would be served.

    Raises:
        BadSetting: it is neither.
    """
    if text not in ("auto", *VARIANTS):
        raise BadSetting(f"{flag}: {text!r} is not one of auto, {', '.join(VARIANTS)}")
    return text


def examples(text: str) -> dict[str, object]:
    """Arguments of a parser whose help ends in a text that keeps its lines."""
    return {
        "epilog": text,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
