"""Bundles signed by `predictor export --sign`, and what `--require-signature` takes."""

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from predictor import repository
from predictor.bundle.manifest import MANIFEST
from predictor.bundle.signature import SIGNATURE
from predictor.errors import BadModel, BadSetting
from predictor.settings import ModelSettings
from tests.command import run_command
from tests.reference.families.folders import assemble


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files of a private key and its public key."""
    folder = tmp_path_factory.mktemp("keys")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key").write_bytes(private)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pub").write_bytes(public)
    return folder / "key", folder / "key.pub"


@pytest.fixture(scope="module")
def signed(keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("signed")
    source = assemble("bert", work / "source")
    flags = ("--sign", str(keys[0]), "--no-torch", "--quiet")
    ended = run_command("export", str(source), "-o", str(work / "model"), *flags)
    assert ended.code == 0, ended.err
    return work / "model" / "1"


def load(folder: Path, public: Path) -> repository.LoadedModel:
    return repository.load_model(
        ModelSettings(model_dir=str(folder), require_signature=str(public))
    )


def test_a_signed_bundle_is_served(signed: Path, keys: tuple[Path, Path]) -> None:
    assert load(signed, keys[1]).bundle.files.keys().isdisjoint({SIGNATURE})
    assert repository.load_model(ModelSettings(model_dir=str(signed))).version == "1"


def test_the_signature_is_a_plain_one_of_the_manifest(
    signed: Path, keys: tuple[Path, Path]
) -> None:
    key = load_pem_public_key(keys[1].read_bytes())
    assert isinstance(key, Ed25519PublicKey)
    key.verify((signed / SIGNATURE).read_bytes(), (signed / MANIFEST).read_bytes())


def test_a_bundle_that_was_changed_or_not_signed_is_refused(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(signed, tmp_path / "1"))
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes() + b" ")
    with pytest.raises(BadModel, match="not a signature of this manifest"):
        load(folder, keys[1])
    (folder / SIGNATURE).unlink()
    with pytest.raises(BadModel, match="takes signed bundles only"):
        load(folder, keys[1])


def test_a_directory_without_a_manifest_cannot_be_signed(
    keys: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(BadModel, match="not a bundle; --require-signature takes signed bundles"):
        load(assemble("bert", tmp_path / "source"), keys[1])


def test_a_key_that_cannot_be_read_is_a_setting_that_does_not_fit(
    signed: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadSetting, match=r"--require-signature .* cannot be read"):
        load(signed, tmp_path / "missing")
    ended = run_command("export", "source", "-o", "model", "--sign", str(tmp_path / "missing"))
    assert ended.code == 2
    assert "--sign" in ended.err
