"""Messages of panics stay out of the log; all else that libraries write comes through."""

import os
import subprocess
import sys
import textwrap

import pytest

from predictor.native_stderr import PanicScanner
from tests.deadlines import DEADLINE_S

HEADER = b"\nthread '<unnamed>' (812) panicked at /src/tokenizers/normalizer.rs:143:26:\n"
PLACE = "/src/tokenizers/normalizer.rs:143:26"
SECRET = b"byte index 5 is out of bounds of `a text of a user`\nthat has lines\n"


def test_other_lines_come_through_as_they_are() -> None:
    scanner = PanicScanner()
    assert scanner.feed(b"one\ntwo\nthr") == (b"one\ntwo\n", [])
    assert scanner.feed(b"ee\n") == (b"three\n", [])
    assert scanner.feed(b"no end") == (b"", [])
    assert scanner.quiet() == b"no end"


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_of_a_panic_only_its_place_is_left(size: int) -> None:
    scanner = PanicScanner()
    written = b"before\n" + HEADER + SECRET * 20
    kept = b""
    places: list[str] = []
    for start in range(0, len(written), size):
        passed, began = scanner.feed(written[start : start + size])
        kept += passed
        places += began
    assert scanner.quiet() == b""
    assert (kept, places) == (b"before\n\n", [PLACE])
    assert scanner.feed(b"after\n") == (b"after\n", [])


def test_a_text_that_looks_like_a_panic_is_not_quoted_either() -> None:
    header = b"thread 'a' panicked at 'a text of a user', src/x.rs:1:2\n"  # before Rust 1.73
    assert PanicScanner().feed(header) == (b"", ["an unknown place"])


def test_a_process_logs_the_place_and_not_the_message() -> None:
    program = """
        import logging, os, sys
        from predictor.native_stderr import without_panic_messages
        with without_panic_messages():
            logging.basicConfig(stream=sys.stderr, format="%(message)s")
            os.write(2, b"a line of a library\\n")
            os.write(2, HEADER + SECRET)
            print("a line of ours", file=sys.stderr)
        os.write(2, b"after it\\n")
    """
    script = (
        textwrap.dedent(program).replace("HEADER", repr(HEADER)).replace("SECRET", repr(SECRET))
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        timeout=DEADLINE_S,
        check=True,
        env=os.environ,
    )
    assert b"text of a user" not in ran.stderr
    assert b"a line of a library\n" in ran.stderr
    assert b"a line of ours\n" in ran.stderr
    assert b"after it\n" in ran.stderr
    assert f"a native library panicked at {PLACE};".encode() in ran.stderr
