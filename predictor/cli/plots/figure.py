"""What all plots share: their colours, where they may be written, and matplotlib itself."""

import importlib.util
import logging
from pathlib import Path
from typing import Any

from predictor.errors import BadSetting
from predictor.extras import install

BLUE = "#2a6f97"
ORANGE = "#d1711f"
GREY = "#666666"


def check(path: Path) -> None:
    """Check, before the long work begins, that a plot can be drawn and written.

    Raises:
        BadSetting: matplotlib is not installed, or the path cannot be that of a plot.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise BadSetting(f"--plot: needs matplotlib: {install('plot')}")
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise BadSetting(f"--plot {path}: the name has to end in .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise BadSetting(f"--plot {path}: there is no directory {path.parent}")


def new_figure(width: float, height: float) -> Any:
    """An empty figure; width and height in inches."""
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    return Figure(figsize=(width, height), dpi=130, layout="constrained")


def save(figure: Any, path: Path) -> None:
    """Write a figure in the format that the name ends with.

    Raises:
        BadSetting: it cannot be written.
    """
    try:
        figure.savefig(path)
    except OSError as error:
        raise BadSetting(f"--plot {path}: cannot be written: {error.strerror}") from error
