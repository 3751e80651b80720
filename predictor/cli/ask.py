"""`predictor ask`: whether a running server gives right vectors. For people and for `helm test`."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from predictor.cli.arguments import examples, number
from predictor.comparison import probe
from predictor.comparison.exchange import Address, model_route, parse
from predictor.errors import BadModel, BadSetting

TEXT = "A man is playing a guitar."
EXAMPLES = """
Asks for the vector of a text, alone and among seven others, past any cache. Right is: as many
dimensions as the metadata says, finite numbers, length 1 when normalised, the same vector alone and
in the batch; and, with --expect, those first components.

examples:
  predictor ask http://localhost:8080 --model minilm
  predictor ask http://localhost:8080 --model minilm --version 2 --text hello --expect=-0.03,0.02
  predictor ask https://minilm.example.com --model minilm --api-key-file key --json

exit code: 0; or 1 and what is wrong in one line.
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "ask",
        help="check the vectors of a running server",
        description="Ask a running server for the vector of a text and check it.",
        **examples(EXAMPLES),
    )
    parser.add_argument("url", metavar="URL", help="http(s)://host[:port]")
    parser.add_argument("--model", default="", metavar="M", help="[default: the only one]")
    parser.add_argument("--version", default="", metavar="V", help="[default: the model's own]")
    parser.add_argument("--text", default=TEXT, metavar="T", help=f"[default: {TEXT}]")
    expected = parser.add_mutually_exclusive_group()
    expected.add_argument(
        "--expect", metavar="LIST", help="first components of the vector: --expect=-0.1,0.2"
    )
    expected.add_argument(
        "--expect-file", metavar="FILE", help="the same as a JSON array of numbers"
    )
    parser.add_argument(
        "--tolerance", default="0.001", metavar="X", help="of a component [default: 0.001]"
    )
    parser.add_argument("--api-key-file", metavar="FILE", help="holds the key to send")
    parser.add_argument(
        "--timeout", default="60", metavar="S", help="until the server must be ready [default: 60]"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a line")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print what was found; raises BadModel (wrong, and no --json) or BadSetting."""
    address = place(parse(given.url), given.model, given.version)
    expected = _expected(given)
    key = read_key(given.api_key_file) if given.api_key_file else ""
    timeout_s = number("--timeout", given.timeout, minimum=0.1, maximum=86400)
    try:
        found = probe.patiently(
            timeout_s,
            lambda left_s: probe.ask(replace(address, key=key, timeout_s=left_s), given.text),
        )
        if fault := probe.wrong(found, given.version, expected):
            raise BadModel(f"{given.url}: {fault}")
    except BadModel as error:
        if not given.json:
            raise
        print(json.dumps({"ok": False, "wrong": str(error)}, ensure_ascii=False))
        return 1
    print(in_json(found) if given.json else in_words(found))
    return 0


def place(address: Address, model: str, version: str) -> Address:
    """The address with the path of a model, and of a version of it, if they are named.

    Raises:
        BadSetting: a version without a model, or a URL that names one already.
    """
    if not (model or version):
        return address
    if not model:
        raise BadSetting("--version: name the --model, too")
    if address.path:
        raise BadSetting(f"--model: {address.url} names a model already")
    path = model_route(model)
    return replace(address, path=f"{path}/versions/{quote(version, safe='')}" if version else path)


def _expected(given: argparse.Namespace) -> probe.Expected | None:
    tolerance = number("--tolerance", given.tolerance, minimum=0)
    if given.expect is not None:
        content, source = f"[{given.expect}]".encode(), "--expect"
    elif given.expect_file is not None:
        content, source = _read("--expect-file", given.expect_file), "--expect-file"
    else:
        return None
    return probe.Expected(components(source, content), tolerance)


def components(source: str, content: bytes) -> tuple[float, ...]:
    """Finite numbers, one at least.

    Raises:
        BadSetting: it is something else.
    """
    try:
        numbers = msgspec.json.decode(content, type=tuple[float, ...])
    except msgspec.DecodeError as error:
        raise BadSetting(f"{source}: not a list of numbers like -0.1,0.2: {error}") from error
    if not numbers:
        raise BadSetting(f"{source}: holds no number")
    return numbers


def read_key(name: str) -> str:
    """The key in a file, without the white space around it.

    Raises:
        BadSetting: it cannot be read, or is no key that a header can carry.
    """
    try:
        key = _read("--api-key-file", name).decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise BadSetting(f"--api-key-file {name}: is not plain ASCII") from error
    if not key or not key.isprintable() or " " in key:
        raise BadSetting(f"--api-key-file {name}: one key without spaces is wanted")
    return key


def _read(flag: str, name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise BadSetting(f"{flag} {name}: cannot be read: {error.strerror}") from error


def in_words(found: probe.Found) -> str:
    return (
        f"ok: {found.model} version {found.version}, revision {found.revision}, "
        f"{found.dimensions} dimensions, {found.ms:.0f} ms"
    )


def in_json(found: probe.Found) -> str:
    """`vector` is of the text alone: its first components make an --expect."""
    content = {
        "ok": True,
        "model": found.model,
        "version": found.version,
        "revision": found.revision,
        "dimensions": found.dimensions,
        "ms": round(found.ms, 1),
        "vector": found.vector.tolist(),
    }
    return json.dumps(content, ensure_ascii=False)
