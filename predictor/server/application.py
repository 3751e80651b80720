"""What this server can do: the capabilities, the codecs that speak them, and the routes.

A new task is a `Capability` in the list: its task, its tensors for V2, and its form in each
protocol that has one. Nothing is discovered: what is not in the list is not served.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from predictor.protocols.codec import Codec, Form, RestCodec
from predictor.protocols.cohere import CohereCodec, CohereEmbed, CohereV1Codec, CohereV1Embed
from predictor.protocols.ollama import OllamaCodec, OllamaEmbed, OllamaPrompt, OllamaPromptCodec
from predictor.protocols.openai import OpenAICodec, OpenAIEmbed
from predictor.protocols.tei import TeiCodec, TeiEmbed
from predictor.protocols.tei_tokenizer import TeiDecode, TeiTokenize
from predictor.protocols.v1 import V1Codec, V1Embed
from predictor.protocols.v2 import V2Codec
from predictor.protocols.v2_embed import EmbedTensors
from predictor.protocols.v2_grpc import V2GrpcCodec
from predictor.protocols.v2_tensors import TensorForm
from predictor.server.http.route import Route
from predictor.server.http.routes import ROUTES
from predictor.tasks import Task
from predictor.tasks.embed import EMBED
from predictor.tasks.tokenizer import DECODE, TOKENIZE


@dataclass(frozen=True, slots=True)
class Capability:
    """One task, and how each protocol writes it."""

    task: Task[Any, Any]
    # In V2, REST and gRPC.
    tensors: TensorForm | None = None
    # In the other protocols, by their names.
    forms: Mapping[str, Form[bytes]] = field(default_factory=dict)


CAPABILITIES = (
    Capability(
        EMBED,
        EmbedTensors(),
        {
            "openai": OpenAIEmbed(),
            "tei": TeiEmbed(),
            "cohere": CohereEmbed(),
            "cohere_v1": CohereV1Embed(),
            "v1": V1Embed(),
            "ollama": OllamaEmbed(),
            "ollama_prompt": OllamaPrompt(),
        },
    ),
    Capability(TOKENIZE, forms={"tei": TeiTokenize()}),
    Capability(DECODE, forms={"tei": TeiDecode()}),
)
REST_CODECS: tuple[type[RestCodec], ...] = (
    OpenAICodec,
    TeiCodec,
    CohereCodec,
    CohereV1Codec,
    V1Codec,
    OllamaCodec,
    OllamaPromptCodec,
)


@dataclass(frozen=True, slots=True)
class Application:
    """The parts of a server that follow from its capabilities."""

    tasks: Mapping[str, Task[Any, Any]]
    # Of REST, by name.
    codecs: Mapping[str, Codec[bytes]]
    grpc_codec: V2GrpcCodec
    # The forms of V2, by the names of their tasks.
    tensors: Mapping[str, TensorForm]
    routes: Sequence[Route]


def put_together(
    capabilities: Sequence[Capability] = CAPABILITIES,
    rest_codecs: Sequence[type[RestCodec]] = REST_CODECS,
    routes: Sequence[Route] = ROUTES,
) -> Application:
    """The application that has these capabilities."""
    tensors = {c.task.name: c.tensors for c in capabilities if c.tensors is not None}
    codecs: dict[str, Codec[bytes]] = {"v2": V2Codec(tensors)}
    for codec in rest_codecs:
        forms = {c.task.name: c.forms[codec.name] for c in capabilities if codec.name in c.forms}
        codecs[codec.name] = codec(forms)
    return Application(
        tasks={capability.task.name: capability.task for capability in capabilities},
        codecs=codecs,
        grpc_codec=V2GrpcCodec(tensors),
        tensors=tensors,
        routes=routes,
    )
