"""Every setting once: flag, environment variables, unit and the reason for the default.

Read once at start, frozen, handed down by slice. A flag beats `PREDICTOR_<NAME>`, which beats the
name other servers use for it (TEI's), which beats the default. KServe's own flags keep their
spelling; each flag may be written with dashes or underscores.
"""

from predictor.settings.models import (
    CacheSettings,
    DriftSettings,
    ModelSettings,
    RepositorySettings,
    model_path,
)
from predictor.settings.reading import GROUPS, Settings, add_flags, read_settings
from predictor.settings.serving import (
    AccessSettings,
    BatchingSettings,
    RequestSettings,
    ServerSettings,
)

__all__ = [
    "GROUPS", "AccessSettings", "BatchingSettings", "CacheSettings", "DriftSettings",
    "ModelSettings", "RepositorySettings", "RequestSettings", "ServerSettings", "Settings",
    "add_flags", "model_path", "read_settings",
]  # fmt: skip
