"""Which files a graph leads to, read from the bytes of the graph without a library.

A graph may name a file for each of its weights (`external_data`). They are looked up before ONNX
Runtime sees the graph, so that it opens no file that is not part of the bundle. The file is mapped
and weights are skipped: it takes milliseconds, whatever the size.
"""

import mmap
from pathlib import Path

from predictor.errors import BadModel

# The fields of ONNX's messages (onnx.proto) in which a tensor may lie, by number: the message that
# each holds. All other fields are skipped.
MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
KEY = 1
VALUE = 2
LOCATION = "location"
LENGTH_KEY = "length"
# Wire types of protobuf.
VARINT = 0
LENGTH = 2
FIXED_BYTES = {1: 8, 5: 4}
MAX_DEPTH = 64
MAX_VARINT_BYTES = 10


def external_files(graph: Path) -> set[str]:
    """The names of the files beside a graph that it reads weights from, as they stand in it.

    Raises:
        BadModel: the file cannot be read, or is no ONNX graph.
    """
    return {value for key, value in _entries(graph) if key == LOCATION}


def external_bytes(graph: Path) -> int:
    """Bytes of the weights that lie in files beside a graph.

    Raises:
        BadModel: the file cannot be read, or is no ONNX graph.
    """
    entries = _entries(graph)
    lengths = [value for key, value in entries if key == LENGTH_KEY]
    locations = [value for key, value in entries if key == LOCATION]
    if len(lengths) < len(locations):  # the length of a tensor may be left out
        files = {graph.parent / Path(name).name for name in locations}
        return sum(path.stat().st_size for path in files if path.is_file())
    return sum(int(length) for length in lengths if length.isdecimal())


def _entries(graph: Path) -> list[tuple[str, str]]:
    """All entries of `external_data`, keys and values. Raises BadModel."""
    try:
        with graph.open("rb") as file:
            if not graph.stat().st_size:
                raise ValueError("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                entries: list[tuple[bytes, bytes]] = []
                _collect(content, "model", 0, len(content), entries)
    except OSError as error:
        raise BadModel(f"{graph}: cannot be read: {error.strerror or error}") from error
    except (ValueError, IndexError) as error:
        raise BadModel(f"{graph}: not a readable ONNX file: {error}") from error
    return [
        (key.decode("utf-8", "backslashreplace"), value.decode("utf-8", "backslashreplace"))
        for key, value in entries
    ]


def _collect(
    content: mmap.mmap,
    message: str,
    start: int,
    end: int,
    entries: list[tuple[bytes, bytes]],
    depth: int = 0,
) -> None:
    """Add the entries in one message. Raises ValueError, IndexError."""
    if depth > MAX_DEPTH:
        raise ValueError(f"messages within messages, {MAX_DEPTH} times")
    inner = MESSAGES[message]
    place = start
    while place < end:
        tag, place = _varint(content, place)
        kind = tag & 7
        if kind == LENGTH:
            size, place = _varint(content, place)
            last = place + size
            if last > end:
                raise ValueError("a field is longer than the message that it is in")
            if (name := inner.get(tag >> 3)) == "entry":
                entries.append(_entry(content[place:last]))
            elif name is not None:
                _collect(content, name, place, last, entries, depth + 1)
            place = last
        elif kind == VARINT:
            _, place = _varint(content, place)
        elif kind in FIXED_BYTES:
            place += FIXED_BYTES[kind]
        else:
            raise ValueError(f"wire type {kind}")
    if place != end:
        raise ValueError("the end of a message is missing")


def _entry(entry: bytes) -> tuple[bytes, bytes]:
    """Key and value of an entry. Raises ValueError, IndexError."""
    parts = {KEY: b"", VALUE: b""}
    place = 0
    while place < len(entry):
        tag, place = _varint(entry, place)
        if tag & 7 != LENGTH:
            raise ValueError(f"an entry with wire type {tag & 7}")
        size, place = _varint(entry, place)
        if place + size > len(entry):
            raise ValueError("a field is longer than the message that it is in")
        parts[tag >> 3] = entry[place : place + size]
        place += size
    return parts[KEY], parts[VALUE]


def _varint(content: mmap.mmap | bytes, place: int) -> tuple[int, int]:
    """A number, and the place after it."""
    byte = content[place]
    if byte < 0x80:
        return byte, place + 1
    number = byte & 0x7F
    for shift in range(1, MAX_VARINT_BYTES):
        byte = content[place + shift]
        number |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return number, place + shift + 1
    raise ValueError("a number has too many bytes")
