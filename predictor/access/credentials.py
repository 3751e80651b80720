"""The credential in a request's headers, and the digest that stands for it."""

import hashlib


def credential(
    authorization: str | None, x_api_key: str | None, api_key: str | None = None
) -> str | None:
    """Return the key from the headers of these names; None: there is none.

    The first of `x-api-key: KEY`, `api-key: KEY` (Azure's) and `Authorization: Bearer KEY` that has
    a key is used. `Authorization` is the last, because behind a gateway or in a mesh it may hold a
    token for these.
    """
    for value in (x_api_key, api_key):
        if value is not None and (key := value.strip()):
            return key
    if authorization is None:
        return None
    scheme, _, key = authorization.strip().partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def digest_of(text: str) -> bytes:
    """Return the SHA-256 (32 bytes) of any text; lone surrogates are hashed, not refused."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
