"""The routes that describe the served models, in the form of each protocol."""

from predictor.protocols.codec import Encoded
from predictor.protocols.tei import model_of
from predictor.protocols.wire import encode_json
from predictor.server import metadata
from predictor.server.http.request import Request
from predictor.server.http.route import Match
from predictor.server.http.services import Services


async def v2_server(services: Services, request: Request, match: Match) -> None:
    """V2: the server metadata."""
    del services, match
    await request.respond_json(metadata.server_metadata())


async def v2_ready(services: Services, request: Request, match: Match) -> None:
    """V2: whether the server, or the model in the path, can answer now; if not, 503."""
    parameters = match.parameters
    content = metadata.readiness(
        services.inference, parameters.get("model", ""), parameters.get("version", "")
    )
    if content["ready"]:
        await request.respond_json(content)
    else:
        await request.respond(503, Encoded(encode_json(content)), ((b"retry-after", b"1"),))


async def v2_names(services: Services, request: Request, match: Match) -> None:
    """V2: the names of the models."""
    del match
    await request.respond_json({"models": services.inference.models.names()})


async def v2_model(services: Services, request: Request, match: Match) -> None:
    """V2: the model metadata."""
    parameters = match.parameters
    version = parameters.get("version", "")
    name = parameters["model"]
    content = metadata.model_metadata(services.inference, name, version)
    content["parameters"] = metadata.model_parameters(services.inference, name, version)
    await request.respond_json(content)


async def openai_models(services: Services, request: Request, match: Match) -> None:
    """OpenAI's list of models, and KServe V1's in the same answer."""
    del match
    await request.respond_json(metadata.openai_models(services.inference))


async def openai_model(services: Services, request: Request, match: Match) -> None:
    """OpenAI's model object, and KServe V1's readiness in the same answer."""
    await request.respond_json(metadata.openai_model(services.inference, match.parameters["model"]))


async def ollama_tags(services: Services, request: Request, match: Match) -> None:
    """Ollama's list of models."""
    del match
    await request.respond_json(metadata.ollama_tags(services.inference))


async def tei_info(services: Services, request: Request, match: Match) -> None:
    """TEI's /info."""
    del match
    content = metadata.tei_info(services.inference, services.settings, model_of(request))
    await request.respond_json(content)
