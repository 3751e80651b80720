"""Who may send requests, and who may change what is served."""

from typing import Annotated

from msgspec import Meta, Struct


class AccessSettings(Struct, frozen=True, kw_only=True):
    """Access: who may send requests, and who may change what is served."""

    api_keys_file: Annotated[
        str,
        Meta(
            description="File of hashed API keys with their limits, read again when it changes. "
            "Empty: no key is required.",
        ),
    ] = ""
    admin_token_file: Annotated[
        str,
        Meta(
            description="File with the token for the admin routes (load, unload, cache flush, log "
            "level and others). Empty: the public port has no admin routes.",
        ),
    ] = ""
    admin_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65535,
            description="Port on 127.0.0.1 that serves the admin routes as well. 0: no such port.",
        ),
    ] = 0
