"""Detached Ed25519 signatures of bundles: over the manifest, which has the digest of each file.

The signature is the 64 bytes of `bundle.json.sig`, which OpenSSL can make and check, too:
`openssl pkeyutl -verify -pubin -inkey key.pub -rawin -in bundle.json -sigfile bundle.json.sig`.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from predictor.errors import BadModel, BadSetting

if TYPE_CHECKING:  # importing it takes 50 ms, which only those pay who use signatures
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE = "bundle.json.sig"
PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)

Sign = Callable[[bytes], bytes]


def signer(flag: str, key_file: Path) -> Sign:
    """What signs a manifest with the private key of a PEM file.

    Raises:
        BadSetting: the file cannot be read, or holds no Ed25519 key without a password.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(flag, key_file), None)
    except (ValueError, TypeError) as error:
        raise BadSetting(f"{flag} {key_file}: not a private key in PEM, or encrypted") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadSetting(f"{flag} {key_file}: not an Ed25519 key")
    return key.sign


def read_public_keys(flag: str, key_file: Path) -> "list[Ed25519PublicKey]":
    """The Ed25519 public keys of a PEM file, one or more.

    Raises:
        BadSetting: the file cannot be read, or holds anything else.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    keys: list[Ed25519PublicKey] = []
    for block in PUBLIC_KEY.findall(_read(flag, key_file)):
        try:
            key = load_pem_public_key(block)
        except ValueError as error:
            raise BadSetting(f"{flag} {key_file}: not a public key in PEM") from error
        if not isinstance(key, Ed25519PublicKey):
            raise BadSetting(f"{flag} {key_file}: not an Ed25519 key")
        keys.append(key)
    if not keys:
        raise BadSetting(f"{flag} {key_file}: no public key in PEM")
    return keys


def check_signature(folder: Path, manifest: bytes, keys: "list[Ed25519PublicKey]") -> None:
    """Check that one of these keys signed a manifest.

    Raises:
        BadModel: there is no signature in the folder, or none of the keys made it.
    """
    from cryptography.exceptions import InvalidSignature

    path = folder / SIGNATURE
    try:
        signature = path.read_bytes()
    except OSError as error:
        raise BadModel(
            f"{path}: cannot be read ({error.strerror}); --require-signature takes signed bundles "
            "only (`predictor export --sign`)"
        ) from error
    for key in keys:
        try:
            key.verify(signature, manifest)
            return
        except InvalidSignature:
            continue
    raise BadModel(f"{path}: not a signature of this manifest by a key of --require-signature")


def _read(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSetting(f"{flag} {path}: cannot be read ({error.strerror or error})") from error
