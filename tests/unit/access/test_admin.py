"""The admin token: one answer to every wrong credential, and no lock-out by a broken file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.access import AdminToken
from predictor.access.admin import parse_token
from predictor.access.credentials import digest_of
from predictor.errors import BadSetting, Unauthorized
from predictor.settings import AccessSettings
from tests.unit.access.files import Mount

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


def opened(path: Path) -> AdminToken:
    token = AdminToken.open(AccessSettings(admin_token_file=str(path)))
    assert token is not None
    return token


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "token"
    made.write_text(TOKEN + "\n")
    return made


def test_without_a_file_there_is_no_token() -> None:
    assert AdminToken.open(AccessSettings()) is None


def test_the_token_passes(path: Path) -> None:
    opened(path).check(TOKEN, 0.0)


def test_every_wrong_credential_gets_the_same_answer(path: Path) -> None:
    token, messages = opened(path), set[str]()
    wrong = [None, "", TOKEN[:-1], TOKEN + "\n", TOKEN.upper(), OTHER, "é" * 32, "\udc80", "\0"]
    for credential in wrong:
        with pytest.raises(Unauthorized) as caught:
            token.check(credential, 0.0)
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert TOKEN not in messages.pop()


@given(st.text())
def test_no_text_passes_and_none_raises_anything_else(text: str) -> None:
    class Held:
        value = digest_of(TOKEN)

        def refresh(self, now: float) -> bool:
            return False

    with pytest.raises(Unauthorized):
        AdminToken(Held()).check(text, 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_newlines_at_the_end_do_not_count(end: str) -> None:
    assert parse_token(f"{TOKEN}{end}".encode()) == digest_of(TOKEN)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has 0 characters"),
        (b"\n", "has 0 characters"),
        (b"fifteen-letters\n", "has 15 characters; at least 16"),
        (TOKEN.encode() + b"\n" + TOKEN.encode(), "visible ASCII"),
        (b" " + TOKEN.encode(), "visible ASCII"),
        (TOKEN.encode() + b" \n", "visible ASCII"),
        (TOKEN.encode() + b"\0", "visible ASCII"),
        ("é".encode() * 16, "visible ASCII"),
    ],
)
def test_a_token_that_is_too_short_or_cannot_be_sent_is_refused(
    path: Path, content: bytes, reason: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(BadSetting, match=f"^--admin-token-file {path}: .*{reason}") as caught:
        opened(path)
    assert TOKEN not in str(caught.value)


def test_sixteen_characters_are_enough(path: Path) -> None:
    path.write_text("sixteen-letters!")
    opened(path).check("sixteen-letters!", 0.0)


def test_a_missing_file_at_start_is_a_bad_setting(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="no such file or directory"):
        opened(tmp_path / "none")


def test_a_new_token_replaces_the_old_one(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "secret", "token", TOKEN.encode())
    token = opened(mount.path)
    token.check(TOKEN, 0.0)
    mount.swap(OTHER.encode())
    token.check(OTHER, 1.0)
    with pytest.raises(Unauthorized):
        token.check(TOKEN, 1.0)


def test_a_broken_new_file_leaves_the_old_token_in_force(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = opened(path)
    for second, content in enumerate((b"", b"short", b"\xff" * 32), start=1):
        path.write_bytes(content)
        token.check(TOKEN, float(second))
        for wrong in (None, "", "short"):
            with pytest.raises(Unauthorized):
                token.check(wrong, float(second))
    path.unlink()
    token.check(TOKEN, 9.0)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 4
    assert "has 5 characters" in errors[1]
    assert not any(secret in line for line in errors for secret in (TOKEN, "\\xff"))
