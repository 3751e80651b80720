"""The downloading process, as far as it can be seen without one: what it is given and tells."""

from pathlib import Path

import pytest

from predictor.storage.child import end_prefix
from predictor.storage.download import UNWANTED, _report, child_environment
from predictor.storage.failure import Failure, Reason
from predictor.storage.messages import Report


def test_the_environment_goes_with_the_process(tmp_path: Path) -> None:
    given = {"AWS_ACCESS_KEY_ID": "a", "HF_HOME": "/home", "HF_XET_CACHE": "/mine"}
    child = child_environment("s3://b/m", given, tmp_path)
    assert given.items() <= child.items()
    assert child["TMPDIR"] == str(tmp_path)
    assert child["HF_HUB_CACHE"].startswith(str(tmp_path))
    assert "STORAGE_IGNORE_PATTERNS" not in child


def test_of_a_hub_only_what_is_served_is_fetched(tmp_path: Path) -> None:
    child = child_environment("hf://o/m", {}, tmp_path)
    assert child["STORAGE_IGNORE_PATTERNS"] == ",".join(UNWANTED)
    for name in ("STORAGE_ALLOW_PATTERNS", "STORAGE_IGNORE_PATTERNS"):
        mine = child_environment("hf://o/m", {name: "*.json"}, tmp_path)
        assert mine.get("STORAGE_IGNORE_PATTERNS") in (None, "*.json")


def test_a_report_is_believed_and_its_absence_is_a_failure() -> None:
    answer = b'{"failure": {"reason": "no_host"}, "refused": []}'
    assert _report(answer, 0) == Report(Failure(Reason.NO_HOST))
    assert _report(b"", -9) == Report(Failure(Reason.KILLED, "SIGKILL"))
    assert _report(b"Traceback", 1) == Report(Failure(Reason.KILLED, "exit status 1"))


@pytest.mark.parametrize(
    ("path", "prefix"), [("c/models/minilm", "models/minilm/"), ("c/m/", "m/"), ("c/", "")]
)
def test_a_prefix_of_azure_is_a_folder(
    path: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kserve_storage import Storage

    monkeypatch.setattr(Storage, "_parse_azure_uri", staticmethod(Storage._parse_azure_uri))
    end_prefix(Storage)
    host = "account.blob.core.windows.net"
    parsed = Storage._parse_azure_uri(f"https://{host}/{path}")
    assert parsed == ("account", f"https://{host}", "c", prefix)
