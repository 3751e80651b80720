"""Fixtures of the contract tests: plain HTTP, the reference, and clients that need care to import.

Two clients of the same gRPC service cannot live in one process as they are: tritonclient and
KServe's SDK each register their own `inference.ModelInferRequest` in protobuf's one default pool.
tritonclient is given a pool of its own; nothing else about it changes.
"""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import httpx
import pytest
from google.protobuf import descriptor_pool

from tests.contract.helpers import Reference, read_reference
from tests.deadlines import DEADLINE_S
from tests.serving import Server


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpx.Client]:
    """Plain HTTP to the server, without a client library's opinions."""
    with httpx.Client(base_url=server.url, timeout=DEADLINE_S) as client:
        yield client


@pytest.fixture(scope="session")
def reference() -> Reference:
    return read_reference()


@pytest.fixture(scope="session")
def kserve() -> ModuleType:
    """KServe's SDK, which parses the command line when it is imported."""
    with mock.patch.object(sys, "argv", sys.argv[:1]):
        return importlib.import_module("kserve")


@pytest.fixture(scope="session")
def tritonclient_grpc() -> Any:
    """The module `tritonclient.grpc`, with its messages in a pool of their own."""
    pool = descriptor_pool.DescriptorPool()
    with mock.patch.object(descriptor_pool, "Default", return_value=pool):
        return importlib.import_module("tritonclient.grpc")
