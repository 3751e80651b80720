"""What a client sent to say who it is, and the digest that stands for it from then on."""

import hashlib


def credential(authorization: str | None, x_api_key: str | None) -> str | None:
    """The key out of `Authorization: Bearer KEY` or `x-api-key: KEY`; None: neither has one.

    If both have one, `x-api-key` counts, because it can mean nothing else: with a gateway or a mesh
    in front `Authorization` may hold a token that is meant for those.
    """
    if x_api_key is not None and (key := x_api_key.strip()):
        return key
    if authorization is None:
        return None
    scheme, _, key = authorization.strip().partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def digest_of(text: str) -> bytes:
    """SHA-256 of any text, 32 bytes; lone surrogates are hashed too, not refused."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
