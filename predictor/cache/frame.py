"""A row in Redis: header, checksum, numbers. A value that is not exactly valid is ignored.

The checksum covers the row's key, so a value under another row's name is recognised, as is one that
was cut, damaged or written by another program. It guards against accidents, not against attackers
with access to Redis, who can store any vector.
"""

import hashlib
import struct

from predictor.cache.rows import F16, F32, Stored, finite

# Magic and format version, dtype, dimensions; little-endian. The checksum follows, then the row.
HEADER = struct.Struct("<4sBI")
MAGIC = b"PRW\x01"
CHECK_BYTES = 8
CODES = {F32: 1, F16: 2}
OVERHEAD = HEADER.size + CHECK_BYTES


def framed(key: bytes, row: bytes, dtype: Stored) -> bytes:
    """The value to store for a row of `dtype`."""
    header = HEADER.pack(MAGIC, CODES[dtype], len(row) // dtype.itemsize)
    return b"".join((header, _check(key, header, row), row))


def unframed(key: bytes, value: bytes, dimensions: int, dtype: Stored) -> bytes | None:
    """The row `[dimensions]` as bytes of `dtype`; None if the value is not exactly that row."""
    header, row = value[: HEADER.size], value[OVERHEAD:]
    if (
        len(row) != dimensions * dtype.itemsize
        or header != HEADER.pack(MAGIC, CODES[dtype], dimensions)
        or value[HEADER.size : OVERHEAD] != _check(key, header, row)
        or not finite(row, dtype)
    ):
        return None
    return row


def _check(key: bytes, header: bytes, row: bytes) -> bytes:
    check = hashlib.blake2b(key, digest_size=CHECK_BYTES)
    check.update(header)
    check.update(row)
    return check.digest()
