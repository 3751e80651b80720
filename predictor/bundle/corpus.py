"""The texts that come with the package: to calibrate on, and, others, to verify on."""

from functools import cache
from pathlib import Path

from predictor.errors import BadModel

TEXTS = Path(__file__).parent / "texts"


def read_texts(path: Path) -> list[str]:
    """One text a line, a line break in it as backslash and n; # lines at the top are skipped.

    Raises:
        BadModel: the file cannot be read, is not UTF-8, or holds no text.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeError) as error:
        raise BadModel(f"{path}: cannot be read: {error}") from error
    while lines and lines[0].startswith("#"):
        lines.pop(0)
    texts = [line.replace("\\n", "\n") for line in lines if line]
    if not texts:
        raise BadModel(f"{path}: holds no texts")
    return texts


@cache
def verification() -> list[str]:
    """Texts that a variant is proven on; no quantiser has seen them."""
    return read_texts(TEXTS / "verification.txt")


@cache
def calibration() -> list[str]:
    """Texts that a quantiser measures activations on."""
    return read_texts(TEXTS / "calibration.txt")
