"""Compressed request bodies: unpacked piece by piece, never beyond the byte limit.

A few kilobytes can unpack to gigabytes. Each piece is unpacked to at most one byte more than the
limit leaves, so that such a body costs no more than one of the limit's size.
"""

import zlib

from predictor.errors import BodyTooLarge, MalformedBody, UnsupportedEncoding

# What `Content-Encoding` may name, as the header `Accept-Encoding` of a 415 lists it.
ENCODINGS = "gzip, identity"
# Of zlib: the largest window, with a gzip header.
_GZIP = 16 + zlib.MAX_WBITS


class GzipDecoder:
    """Unpacks one body."""

    def __init__(self, limit: int) -> None:
        """limit: the most bytes of the unpacked body."""
        self._limit = limit
        self._left = limit
        self._stream = zlib.decompressobj(_GZIP)

    def feed(self, chunk: bytes) -> bytes:
        """Unpack a piece.

        Raises:
            BodyTooLarge: the body is over the limit.
            MalformedBody: it is not what gzip writes, or something follows it.
        """
        stream = self._stream
        try:
            unpacked = stream.decompress(chunk, self._left + 1)
        except zlib.error:
            raise MalformedBody("the body is not valid gzip") from None
        self._left -= len(unpacked)
        if self._left < 0:
            raise BodyTooLarge(
                f"the body has more than {self._limit} bytes after decompression, which is the "
                "limit"
            )
        if stream.unused_data:
            raise MalformedBody("the body has data behind the end of gzip's")
        return unpacked

    def finish(self) -> None:
        """Raise MalformedBody if the body ended too early."""
        if not self._stream.eof:
            raise MalformedBody("the body ends before the end of gzip's data")


def content_decoder(encoding: str, limit: int) -> GzipDecoder | None:
    """The decoder for a `Content-Encoding`; None: the body is as it was sent.

    Raises:
        UnsupportedEncoding: it names another encoding, or several.
    """
    name = encoding.strip().lower()
    if name in ("identity", ""):
        return None
    if name in ("gzip", "x-gzip"):
        return GzipDecoder(limit)
    raise UnsupportedEncoding(
        f"Content-Encoding {encoding[:40]!r} is not supported; supported: {ENCODINGS}"
    )
