"""One ModelInfer request of KServe's V2 protocol as gRPC frames it, encoded by hand.

h2load sends a file as it is. A dozen lines of protobuf are less than generated classes, which the
harness would need from either server.
"""

import struct


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited field: strings, bytes, messages and packed numbers alike."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def infer_request(model: str, text: str) -> bytes:
    """A length-prefixed ModelInferRequest with one BYTES tensor `text` of one element."""
    encoded = text.encode()
    tensor = _field(1, b"text") + _field(2, b"BYTES") + _field(3, _varint(1))
    raw = struct.pack("<I", len(encoded)) + encoded
    message = _field(1, model.encode()) + _field(5, tensor) + _field(7, raw)
    return struct.pack(">BI", 0, len(message)) + message
