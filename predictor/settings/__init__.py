"""Every setting of the server once: type, limits, default and meaning.

Settings are read once at the start, are frozen, and are passed on by group. A flag takes precedence
over `PREDICTOR_<NAME>`, that over TEI's variable for the same setting, and that over the default.
KServe's own flags keep their spelling; each flag may be written with dashes or underscores.
`predictor/docs/configuration.md` is generated from the types of this package.
"""

from predictor.settings.access import AccessSettings
from predictor.settings.batching import BatchingSettings
from predictor.settings.cache import CacheDtype, CacheSettings
from predictor.settings.drift import DriftSettings
from predictor.settings.fields import SettingField, fields_of
from predictor.settings.flags import add_flags
from predictor.settings.groups import GROUPS, Settings
from predictor.settings.model import DeviceChoice, ModelSettings, VariantChoice, model_path
from predictor.settings.reader import read_settings
from predictor.settings.repository import RepositorySettings
from predictor.settings.request import RequestSettings
from predictor.settings.retired import RENAMED
from predictor.settings.server import ServerSettings
from predictor.settings.service_links import service_links
from predictor.settings.transport import TransportSettings

__all__ = [
    "GROUPS",
    "RENAMED",
    "AccessSettings",
    "BatchingSettings",
    "CacheDtype",
    "CacheSettings",
    "DeviceChoice",
    "DriftSettings",
    "ModelSettings",
    "RepositorySettings",
    "RequestSettings",
    "ServerSettings",
    "SettingField",
    "Settings",
    "TransportSettings",
    "VariantChoice",
    "add_flags",
    "fields_of",
    "model_path",
    "read_settings",
    "service_links",
]
