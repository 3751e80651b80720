"""The environment and the report of the downloading process, without running one."""

from pathlib import Path

import pytest

from predictor.storage.child import end_prefix_with_slash
from predictor.storage.download import UNWANTED, _report, child_environment
from predictor.storage.failure import Failure, FailureKind
from predictor.storage.messages import FetchReport


def test_the_process_gets_the_environment_and_temporary_folders(tmp_path: Path) -> None:
    environment = {"AWS_ACCESS_KEY_ID": "a", "HF_HOME": "/home", "HF_XET_CACHE": "/mine"}
    child = child_environment("s3://b/m", environment, tmp_path)
    assert environment.items() <= child.items()
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
    content = b'{"failure": {"kind": "denied", "detail": "no"}, "refused": []}'
    assert _report(content, 0) == FetchReport(Failure(FailureKind.DENIED, "no"))
    for status, how in ((-9, "SIGKILL"), (1, "exit status 1")):
        failure = _report(b"Traceback", status).failure
        assert failure is not None
        assert failure.kind is FailureKind.FAILED
        assert failure.detail == f"the process that fetches was killed ({how}), often for memory"


@pytest.mark.parametrize(
    ("path", "prefix"), [("c/models/minilm", "models/minilm/"), ("c/m/", "m/"), ("c/", "")]
)
def test_a_prefix_of_azure_is_a_folder(
    path: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kserve_storage import Storage

    monkeypatch.setattr(Storage, "_parse_azure_uri", staticmethod(Storage._parse_azure_uri))
    end_prefix_with_slash(Storage)
    host = "account.blob.core.windows.net"
    parsed = Storage._parse_azure_uri(f"https://{host}/{path}")
    assert parsed == ("account", f"https://{host}", "c", prefix)
