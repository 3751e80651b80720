"""`predictor serve`."""

import argparse
from typing import Any

from predictor import logs
from predictor.cli.arguments import examples
from predictor.settings import add_flags, read_settings

EPILOG = """
examples:
  predictor serve --model-dir ./all-MiniLM-L6-v2 --model_name minilm
  predictor serve --model-dir /mnt/models --cache-dir /cache --http_port 8080 --grpc_port 8081

--model-dir takes a Hugging Face / sentence-transformers directory (safetensors of a known family
are converted into --cache-dir and served packed; else its onnx/model.onnx is served as it is), a
bundle, or a directory of numbered versions. Every flag can be an environment variable, named in
brackets; a flag beats PREDICTOR_*, which beats TEI's name.
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "serve",
        help="serve a model over REST and gRPC",
        description="Serve an embedding model: V2 (REST, gRPC), V1, OpenAI, TEI and Cohere.",
        **examples(EPILOG),
    )
    add_flags(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    flags = {key: value for key, value in vars(given).items() if key not in ("run", "command")}
    settings = read_settings(flags)
    logs.configure(settings.server.log_format, settings.server.log_level)
    from predictor.server.app import serve

    return serve(settings)
