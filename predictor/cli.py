"""The command line. Errors are one line with the mend, and an exit code that is not 0."""

import argparse
import os
import sys
from typing import NoReturn

from predictor import __version__, logs
from predictor.errors import BadModel, BadSetting
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


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    parser = argparse.ArgumentParser(
        prog="predictor", description="Embedding server for Kubernetes.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"predictor {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve a model over REST and gRPC",
        description="Serve an embedding model: V2 (REST, gRPC), V1, OpenAI, TEI and Cohere.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_flags(serve)
    given = vars(parser.parse_args(arguments))
    given.pop("command")
    try:
        settings = read_settings(given)
        logs.configure(settings.server.log_format, settings.server.log_level)
        from predictor.server.app import serve as run

        code = run(settings)
    except (BadModel, BadSetting) as error:
        sys.stderr.write(f"predictor: {error}\n")
        code = 1 if isinstance(error, BadModel) else 2
    except KeyboardInterrupt:
        code = 130
    sys.stdout.flush()
    sys.stderr.flush()
    # Engine threads are daemons; nothing is left to wait for, and exit handlers could wait.
    os._exit(code)
