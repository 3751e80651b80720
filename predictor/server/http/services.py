"""The objects that the handlers of routes use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from predictor.protocols.codec import Codec
from predictor.server.admin import Admin
from predictor.server.http.page import Figures
from predictor.server.http.watches import Watches
from predictor.server.inference import Inference
from predictor.server.metrics.exposition import Exposition
from predictor.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one server; used on one event loop."""

    settings: Settings
    inference: Inference
    admin: Admin
    # By name.
    codecs: Mapping[str, Codec[bytes]]
    # Makes the OpenAPI document with a model's name in its examples.
    openapi: Callable[[str], dict[str, Any]]
    exposition: Exposition
    # Watches for clients that leave.
    watches: Watches
    # The figures of the page for browsers; None: the page is turned off.
    figures: Figures | None

    @property
    def example_model(self) -> str:
        """The model in the examples of the documentation."""
        models = self.inference.models
        return models.default_name or next(iter(models.names()), "model")
