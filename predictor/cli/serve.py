"""`predictor serve`: the server."""

import argparse
import logging
import os
from typing import Any

from predictor.cli.arguments import examples
from predictor.native_stderr import without_panic_messages
from predictor.settings import add_flags, read_settings, service_links

logger = logging.getLogger(__name__)

EPILOG = """
examples:
  predictor serve --model-dir ./all-MiniLM-L6-v2 --model_name minilm
  predictor serve --model-dir /mnt/models --cache-dir /cache --http_port 8080 --grpc_port 8081

--model-dir takes a bundle, a directory of numbered versions, a repository, or a Hugging Face or
sentence-transformers directory. If such a directory has safetensors of a known family, they are
converted into --cache-dir and served without padding; otherwise its onnx/model.onnx is served as it
is.

Every setting can also be given as an environment variable, which is named in brackets. A flag takes
precedence over PREDICTOR_*, and that over TEI's name for the same setting. Limits are inclusive.
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "serve",
        help="serve a model over REST and gRPC",
        description="Serve embedding models over V2 (REST and gRPC), V1, OpenAI, TEI and Cohere.",
        **examples(EPILOG),
    )
    add_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    flags = {key: value for key, value in vars(args).items() if key not in ("run", "command")}
    settings = read_settings(flags)
    # The core of gRPC writes to standard error past the log, in threads that a full pipe stops.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with without_panic_messages():
        from predictor import logs

        logs.configure(settings.server.log_format, settings.server.log_level)
        warn_of_links(service_links(os.environ))
        from predictor.server.app import serve

        return serve(settings)


def warn_of_links(links: list[str]) -> None:
    """Say which variables are not read as settings, and how the pod is rid of them."""
    if links:
        logger.warning(
            "ignored variables that Kubernetes sets for a Service; "
            "set enableServiceLinks: false on the pod",
            extra={"variables": links},
        )
