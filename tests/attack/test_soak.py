"""A slice of `hack/soak.sh`: bounds only; how the memory develops needs an hour."""

from pathlib import Path

import pytest

from tests.attack.soak import soak
from tests.integration.test_cache_redis import PROGRAM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no redis-server or valkey-server in the PATH"),
]
SECONDS = 30.0


def test_a_slice_of_the_soak(tmp_path: Path, bundle_dir: Path) -> None:
    report = soak(tmp_path, bundle_dir, SECONDS, seed=1)
    assert report.is_alive
    assert report.wrong == 0
    assert report.unexpected == {}
    assert report.counts["200"] > 0
    assert report.counts["OK"] > 0
    assert max(size for _, size in report.samples) < 921
