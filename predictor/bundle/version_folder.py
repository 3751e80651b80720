"""What a version of a model is on disk: a numbered folder of a bundle or a Hugging Face model.

The repository that is scanned, the download that is published and the export that is written go by
this one definition.
"""

import re
from pathlib import Path

from predictor.bundle.manifest import is_bundle
from predictor.bundle.source import is_source

VERSION_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
"""The name of a version's folder in its model's: 1, 2, 3 and so on, without leading zeros."""


def is_version_folder(folder: Path) -> bool:
    """Whether a folder holds a model itself, whatever its own name is."""
    return is_bundle(folder) or is_source(folder)
