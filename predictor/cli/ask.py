"""`predictor ask`: check the vectors of a running server, by hand or from `helm test`."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from predictor.cli.arguments import examples, number
from predictor.client import probe
from predictor.client.http import Address, model_route, parse
from predictor.errors import BadModel, BadSetting

TEXT = "A man is playing a guitar."
EXAMPLES = """
The command requests the vector of a text, alone and in a batch with seven other texts, and bypasses
the cache. The vector is right if it has as many dimensions as the metadata says, only finite
numbers and, where the model normalises, length 1; if it is the same alone and in the batch; and,
with --expect, if it begins with those components.

examples:
  predictor ask http://localhost:8080 --model minilm
  predictor ask http://localhost:8080 --model minilm --version 2 --text hello --expect=-0.03,0.02
  predictor ask https://minilm.example.com --model minilm --api-key-file key --json

exit code: 0 if the vector is right; 1, and one line that says why, if it is wrong.
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "ask",
        help="check the vectors of a running server",
        description="Request the vector of a text from a running server and check it.",
        **examples(EXAMPLES),
    )
    parser.add_argument("url", metavar="URL", help="Address of the server: http(s)://host[:port].")
    parser.add_argument(
        "--model", default="", metavar="M", help="Model to check. [default: the only one]"
    )
    parser.add_argument(
        "--version",
        default="",
        metavar="V",
        help="Version to check. [default: the one that answers by default]",
    )
    parser.add_argument(
        "--text", default=TEXT, metavar="T", help=f"Text to send. [default: {TEXT}]"
    )
    expected = parser.add_mutually_exclusive_group()
    expected.add_argument(
        "--expect",
        metavar="LIST",
        help="First components that the vector must have: --expect=-0.1,0.2.",
    )
    expected.add_argument(
        "--expect-file",
        metavar="FILE",
        help="File with these components as a JSON array of numbers.",
    )
    parser.add_argument(
        "--tolerance",
        default="0.001",
        metavar="X",
        help="Largest difference allowed in a component. [default: 0.001]",
    )
    parser.add_argument("--api-key-file", metavar="FILE", help="File with the API key to send.")
    parser.add_argument(
        "--timeout",
        default="60",
        metavar="S",
        help="Seconds to wait for the server to be ready. [default: 60]",
    )
    parser.add_argument(
        "--json", action="store_true", help="Print one JSON object instead of a line."
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the result.

    Raises:
        BadModel: the vectors are wrong; with --json this is printed instead.
        BadSetting: an argument is wrong.
    """
    address = place(parse(args.url), args.model, args.version)
    expected = _expected(args)
    key = read_key(args.api_key_file) if args.api_key_file else ""
    timeout_s = number("--timeout", args.timeout, minimum=0.1, maximum=86400)
    try:
        answer = probe.retry_until_ready(
            timeout_s,
            lambda left_s: probe.query(replace(address, key=key, timeout_s=left_s), args.text),
        )
        if fault := probe.find_fault(answer, args.version, expected):
            raise BadModel(f"{args.url}: {fault}")
    except BadModel as error:
        if not args.json:
            raise
        print(json.dumps({"ok": False, "error": str(error)}, ensure_ascii=False))
        return 1
    print(as_json(answer) if args.json else as_text(answer))
    return 0


def place(address: Address, model: str, version: str) -> Address:
    """The address with the path of the model and of its version, where they are named.

    Raises:
        BadSetting: a version is named without a model, or the URL already names a model.
    """
    if not (model or version):
        return address
    if not model:
        raise BadSetting("--version: name the --model as well")
    if address.path:
        raise BadSetting(f"--model: {address.url} already names a model")
    path = model_route(model)
    return replace(address, path=f"{path}/versions/{quote(version, safe='')}" if version else path)


def _expected(args: argparse.Namespace) -> probe.ExpectedComponents | None:
    tolerance = number("--tolerance", args.tolerance, minimum=0)
    if args.expect is not None:
        expected = components("--expect", f"[{args.expect}]".encode())
    elif args.expect_file is not None:
        expected = components("--expect-file", _read("--expect-file", args.expect_file))
    else:
        return None
    return probe.ExpectedComponents(expected, tolerance)


def components(source: str, content: bytes) -> tuple[float, ...]:
    """A JSON array of at least one finite number.

    Raises:
        BadSetting: it is not.
    """
    try:
        numbers = msgspec.json.decode(content, type=tuple[float, ...])
    except msgspec.DecodeError as error:
        raise BadSetting(f"{source}: not a list of numbers like -0.1,0.2: {error}") from error
    if not numbers:
        raise BadSetting(f"{source}: the list has no numbers")
    return numbers


def read_key(name: str) -> str:
    """The key in a file, without surrounding white space.

    Raises:
        BadSetting: the file cannot be read, or its content cannot be sent in a header.
    """
    try:
        key = _read("--api-key-file", name).decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise BadSetting(f"--api-key-file {name}: the key is not plain ASCII") from error
    if not key or not key.isprintable() or " " in key:
        raise BadSetting(f"--api-key-file {name}: the file must hold one key without spaces")
    return key


def _read(flag: str, name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise BadSetting(f"{flag} {name}: cannot be read: {error.strerror}") from error


def as_text(answer: probe.ProbeAnswer) -> str:
    return (
        f"ok: {answer.model} version {answer.version}, revision {answer.revision}, "
        f"{answer.dimensions} dimensions, {answer.ms:.0f} ms"
    )


def as_json(answer: probe.ProbeAnswer) -> str:
    """As JSON; `vector` is that of the text alone, whose first components can be an --expect."""
    content = {
        "ok": True,
        "model": answer.model,
        "version": answer.version,
        "revision": answer.revision,
        "dimensions": answer.dimensions,
        "ms": round(answer.ms, 1),
        "vector": answer.vector.tolist(),
    }
    return json.dumps(content, ensure_ascii=False)
