"""All settings of the server, one group for each part that is handed its own."""

from collections.abc import Mapping

import msgspec

from predictor.settings.access import AccessSettings
from predictor.settings.batching import BatchingSettings
from predictor.settings.cache import CacheSettings
from predictor.settings.drift import DriftSettings
from predictor.settings.model import ModelSettings
from predictor.settings.repository import RepositorySettings
from predictor.settings.request import RequestSettings
from predictor.settings.server import ServerSettings
from predictor.settings.transport import TransportSettings


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    model: ModelSettings = ModelSettings()
    repository: RepositorySettings = RepositorySettings()
    request: RequestSettings = RequestSettings()
    batching: BatchingSettings = BatchingSettings()
    cache: CacheSettings = CacheSettings()
    drift: DriftSettings = DriftSettings()
    access: AccessSettings = AccessSettings()
    transport: TransportSettings = TransportSettings()
    server: ServerSettings = ServerSettings()


GROUPS: Mapping[str, type[msgspec.Struct]] = {
    field.name: field.type for field in msgspec.structs.fields(Settings)
}
