"""The spine in this process: real codecs, routes, pipeline and tokenizer, and no real engine."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import httpx
import msgspec
import pytest
from prometheus_client import REGISTRY

from predictor.access import Authenticator
from predictor.bundle.manifest import read_bundle
from predictor.engine.engine import NullEngine
from predictor.engine.tokenizer import Tokenizer
from predictor.repository import LoadedModel, Repository, RoutingTable
from predictor.server.admin import Admin
from predictor.server.application import CAPABILITIES, Application, put_together
from predictor.server.grpc_server import GrpcServer
from predictor.server.http.app import HttpApplication
from predictor.server.http.route import Router
from predictor.server.http.services import Services
from predictor.server.http.watches import Watches
from predictor.server.inference import Inference
from predictor.server.ledger import Ledger
from predictor.server.metrics.exposition import Exposition
from predictor.server.model import ServedModel
from predictor.server.shadow.shadow import ShadowSender
from predictor.server.watch.drift import DriftWatch
from predictor.settings import ServerSettings, Settings
from tests.integration.spine.length import LENGTH

DEFAULTS = Settings()
WITH_LENGTH = put_together((*CAPABILITIES, LENGTH))


class Table:
    """Stands for the live versions: one model, found by its name alone."""

    is_ready = True

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def find(self, name: str, version: str = "") -> ServedModel:
        del version
        if name not in ("", self._model.name):
            raise KeyError(name)
        return self._model

    def names(self) -> list[str]:
        return [self._model.name]

    def versions(self, name: str) -> list[str]:
        del name
        return [self._model.version]


class Spine:
    """An application with one model, spoken to over HTTP (in this process) and gRPC (a socket)."""

    def __init__(self, application: Application, model: ServedModel) -> None:
        self.model = model
        self.settings = Settings(server=ServerSettings(host="127.0.0.1", grpc_port=0))
        self.inference = Inference(
            cast(RoutingTable[ServedModel], Table(model)),
            Authenticator(None),
            Ledger(1 << 30),
            max_concurrent=8,
            tasks=application.tasks,
            tensors=application.tensors,
        )
        admin = Admin(
            cast(Repository[ServedModel], None),
            None,
            None,
            cast(DriftWatch, None),
            cast(ShadowSender, None),
        )
        services = Services(
            settings=self.settings,
            inference=self.inference,
            admin=admin,
            codecs=application.codecs,
            openapi=lambda model: {},
            exposition=Exposition(REGISTRY),
            watches=Watches(),
            figures=None,
        )
        app = HttpApplication(services, Router(application.routes))
        transport = httpx.ASGITransport(cast(Any, app), raise_app_exceptions=True)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://spine")
        self.grpc_server = GrpcServer(self.inference, application.grpc_codec, admin, self.settings)


Speak = Callable[..., Any]


@pytest.fixture
async def speak(bundle_dir: Path) -> AsyncIterator[Speak]:
    """Makes a spine of an application, with a model of a name that does some tasks."""
    async with AsyncExitStack() as stack:

        async def make(
            application: Application = WITH_LENGTH,
            name: str = "minilm",
            tasks: tuple[str, ...] = ("embed", "length"),
            settings: Settings = DEFAULTS,
        ) -> Spine:
            bundle = msgspec.structs.replace(read_bundle(bundle_dir), tasks=tasks)
            tokenizer = Tokenizer(bundle_dir / "tokenizer.json", bundle.max_length)
            engine = NullEngine(bundle.dimensions, threads=1)
            loaded = LoadedModel(name, "1", bundle, tokenizer, engine, "fp32")
            model = ServedModel(
                loaded, settings, tasks=application.tasks, on_fatal=lambda why: None
            )
            model.start_answering()
            stack.push_async_callback(model.stop_answering)
            spine = Spine(application, model)
            stack.push_async_callback(spine.http.aclose)
            return spine

        yield make
