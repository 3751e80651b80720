"""HTTP/2 frames by hand, for what no gRPC client sends."""

import socket
import struct

from tests.deadlines import DEADLINE_S

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
CANCEL = 8
END_STREAM, END_HEADERS = 1, 4
INITIAL_WINDOW_SIZE = 4
INFER_PATH = b"/inference.GRPCInferenceService/ModelInfer"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream
    ) + payload  # fmt: skip


def settings(**values: int) -> bytes:
    """A frame of settings, such as `initial_window_size`."""
    numbers = {"initial_window_size": INITIAL_WINDOW_SIZE}
    pairs = [struct.pack(">HI", numbers[name], value) for name, value in values.items()]
    return frame(SETTINGS, 0, 0, b"".join(pairs))


def headers(stream: int, path: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """A frame that begins a call; names and values are at most 126 bytes long."""
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    )
    literals = [bytes([0, len(n)]) + n + bytes([len(v)]) + v for n, v in fields]
    return frame(HEADERS, END_HEADERS, stream, b"".join(literals))


def message(stream: int, content: bytes, *, announced: int | None = None) -> bytes:
    """Frames of one message, without the end of the stream if more is announced than is sent."""
    size = len(content) if announced is None else announced
    data = b"\0" + struct.pack(">I", size) + content
    parts = [data[start : start + 16384] for start in range(0, len(data), 16384)]
    last = len(parts) - 1 if announced is None else -1
    return b"".join(
        frame(DATA, END_STREAM if number == last else 0, stream, part)
        for number, part in enumerate(parts)
    )


def reset(stream: int) -> bytes:
    """A frame that ends a call."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))


def connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    client.sendall(PREFACE)
    return client
