"""Signatures of manifests: made with one key, checked with others, and by OpenSSL's rules."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from predictor.bundle.signature import SIGNATURE, check_signature, read_public_keys, signer
from predictor.errors import BadModel, BadSetting

MANIFEST = b'{"schema": 3}'
FLAG = "--require-signature"


def private_pem(key: Ed25519PrivateKey, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def private_file(key: Ed25519PrivateKey, tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_bytes(private_pem(key))
    return path


def public_file(tmp_path: Path, *contents: bytes) -> Path:
    path = tmp_path / "keys.pub"
    path.write_bytes(b"\n".join(contents))
    return path


def test_what_was_signed_is_taken(
    key: Ed25519PrivateKey, private_file: Path, tmp_path: Path
) -> None:
    (tmp_path / SIGNATURE).write_bytes(signer("--sign", private_file)(MANIFEST))
    other = public_pem(Ed25519PrivateKey.generate())
    keys = read_public_keys(FLAG, public_file(tmp_path, other, public_pem(key)))
    check_signature(tmp_path, MANIFEST, keys)
    assert (tmp_path / SIGNATURE).stat().st_size == 64


def test_other_contents_and_other_keys_are_refused(
    key: Ed25519PrivateKey, private_file: Path, tmp_path: Path
) -> None:
    (tmp_path / SIGNATURE).write_bytes(signer("--sign", private_file)(MANIFEST))
    own_keys = read_public_keys(FLAG, public_file(tmp_path, public_pem(key)))
    others = read_public_keys(FLAG, public_file(tmp_path, public_pem(Ed25519PrivateKey.generate())))
    for manifest, keys in ((MANIFEST + b" ", own_keys), (MANIFEST, others)):
        with pytest.raises(BadModel, match="not a signature of this manifest"):
            check_signature(tmp_path, manifest, keys)
    for content in (b"", b"x" * 64, b"x" * 1000):
        (tmp_path / SIGNATURE).write_bytes(content)
        with pytest.raises(BadModel, match="not a signature of this manifest"):
            check_signature(tmp_path, MANIFEST, own_keys)


def test_no_signature_is_said(key: Ed25519PrivateKey, tmp_path: Path) -> None:
    keys = read_public_keys(FLAG, public_file(tmp_path, public_pem(key)))
    with pytest.raises(BadModel, match=r"bundle\.json\.sig: cannot be read \(No such file"):
        check_signature(tmp_path, MANIFEST, keys)


def test_keys_of_another_kind_are_settings_that_do_not_fit(
    key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    path = tmp_path / "other"
    curve = new_ec_key(SECP256R1())
    public = curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"", b"words", public, private_pem(key)):
        path.write_bytes(content)
        with pytest.raises(BadSetting, match=FLAG):
            read_public_keys(FLAG, path)
    for content in (b"", b"words", private, public_pem(key), private_pem(key, b"password")):
        path.write_bytes(content)
        with pytest.raises(BadSetting, match="--sign"):
            signer("--sign", path)
    with pytest.raises(BadSetting, match="cannot be read"):
        signer("--sign", tmp_path / "missing")
