"""What is refused at start: URLs that are none, options that would undo the guards, no package."""

import subprocess
import sys

import pytest

from predictor.cache import RedisTier
from predictor.errors import BadSetting
from predictor.settings import CacheSettings
from tests.deadlines import DEADLINE_S

SECRET = "hunter2"


def tier(url: str) -> RedisTier:
    return RedisTier(CacheSettings(cache_redis_url=url))


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{SECRET}@host",
        f"redis:/{SECRET}",
        f"redis://:{SECRET}@host:{SECRET}",
        f"redis://:{SECRET}@host:99999999",
        f"redis://:{SECRET}@host?decode_responses=true",
        f"redis://:{SECRET}@host?socket_timeout=5",
        f"redis://:{SECRET}@host?max_connections=5000",
        f"redis://:{SECRET}@host?db={SECRET}",
        f"rediss://:{SECRET}@host?ssl_nothing=1",
        f"redis://:pass?{SECRET}=x@host",
        f"redis://host?{SECRET}=x",
        f"redis://:{SECRET}@[host",
        f"unix://?password={SECRET}",
        SECRET,
    ],
)
def test_a_bad_url_is_one_sentence_without_the_secret(url: str) -> None:
    with pytest.raises(BadSetting, match=r"^--cache-redis-url: ") as caught:
        tier(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://user:p%40ss@host:6380/3",
        "rediss://:pass@host:6380/0?ssl_ca_certs=/ca.pem",
        "unix:///run/redis.sock?db=2&password=p",
    ],
)
def test_a_good_url_connects_nowhere_yet(url: str) -> None:
    tier(url)


def test_without_the_package_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(BadSetting, match=r"pip install 'redis>=6'"):
        tier("redis://host")


def test_the_package_is_not_imported_unless_it_is_used() -> None:
    code = "import sys, predictor.cache; sys.exit('redis' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, timeout=DEADLINE_S).returncode
        == 0
    )
