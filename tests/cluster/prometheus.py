"""A Prometheus on this machine that runs what the operator made of monitors and rules.

The one in the cluster is Debian's, which has no Kubernetes discovery: with the first ServiceMonitor
its configuration is refused. So the same program runs here, on the operator's own configuration,
with only the discovery replaced (`discovery.py`). Changes take a second, not the kubelet's minute.
"""

import gzip
import io
import json
import signal
import subprocess
import tarfile
import threading
import urllib.parse
from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cluster import kit
from tests.cluster.api import Api, Object, wait_for
from tests.cluster.discovery import Discovery

# This machine's end of the cable to the node: KEDA, which runs on the node, reaches it too.
ADDRESS = "10.199.0.1"
PORT = 19090
URL = f"http://{ADDRESS}:{PORT}"
PERIOD_S = 1.0
NAMESPACE, NAME = "monitoring", "kit"
# What the operator's reloader puts in for them: there is one pod, of one shard.
VARIABLES = {"POD_NAME": "prometheus-kit-0", "SHARD": "0"}


def translated(config: Object, discovery: str, rules: Path) -> Object:
    """The operator's configuration with HTTP discovery and rules from that folder."""
    text = json.dumps(config)
    for variable, value in VARIABLES.items():
        text = text.replace(f"$({variable})", value)
    changed = json.loads(text)
    changed["rule_files"] = [str(rules / "*.yaml")]
    for job in changed.get("scrape_configs") or []:
        namespaces = [
            name
            for sd in job.pop("kubernetes_sd_configs", [])
            for name in sd.get("namespaces", {}).get("names", [])
        ]
        query = urllib.parse.urlencode([("namespace", name) for name in namespaces])
        job["http_sd_configs"] = [{"url": f"{discovery}?{query}", "refresh_interval": "1s"}]
    configuration: Object = changed
    return configuration


def unpack(archive: Path, folder: Path) -> Path:
    """The program out of the image that the kit made of Debian's package."""
    with tarfile.open(archive) as image:
        (manifest,) = json.load(_member(image, "manifest.json"))
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=_member(image, layer)) as files:
                for member in files.getmembers():
                    if member.name.endswith("bin/prometheus"):
                        files.extract(member, folder, filter="data")
                        return folder / member.name
    raise FileNotFoundError(f"no program in {archive}")


def _member(image: tarfile.TarFile, name: str) -> io.BytesIO:
    member = image.extractfile(name)
    assert member is not None
    return io.BytesIO(member.read())


class Prometheus:
    """Runs between start and stop; a thread takes over what the operator writes."""

    def __init__(self, api: Api, folder: Path) -> None:
        self.url = URL
        self._api, self._folder = api, folder
        self._rules = folder / "rules"
        self._rules.mkdir()
        self._discovery = Discovery(api)
        self._content: Any = None
        self._stopping = threading.Event()
        self._follow()
        self._log = (folder / "log").open("w")
        self._process = subprocess.Popen(
            [
                unpack(kit.STATE / "prometheus.tar", folder), f"--config.file={folder}/config.yaml",
                f"--storage.tsdb.path={folder}/data", f"--web.listen-address={ADDRESS}:{PORT}",
            ],
            stdout=self._log, stderr=self._log,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._keep_following, daemon=True)
        self._thread.start()
        self.failure: BaseException | None = None
        wait_for("Prometheus", self._answers, 60.0)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _keep_following(self) -> None:
        try:
            while not self._stopping.wait(PERIOD_S):
                if self._follow():
                    self._process.send_signal(signal.SIGHUP)
        except BaseException as error:  # it is for the owner to raise it
            self.failure = error

    def _follow(self) -> bool:
        """Write what the operator wrote; whether it was another than before."""
        secret = self._api.get("Secret", f"prometheus-{NAME}", NAMESPACE)
        rules = self._api.get("ConfigMap", f"prometheus-{NAME}-rulefiles-0", NAMESPACE)
        assert secret is not None, "the operator has written no configuration"
        content = (secret["data"], (rules or {}).get("data", {}))
        if content == self._content:
            return False
        for old in self._rules.iterdir():
            old.unlink()
        for name, text in content[1].items():
            (self._rules / name).write_text(text)
        config = yaml.safe_load(gzip.decompress(b64decode(content[0]["prometheus.yaml.gz"])))
        written = translated(config, self._discovery.url, self._rules)
        (self._folder / "config.yaml").write_text(yaml.safe_dump(written))
        self._content = content
        return True

    def stop(self) -> None:
        """Raises what the thread ended with."""
        self._stopping.set()
        self._thread.join(30.0)
        self._process.terminate()
        self._process.wait(30)
        self._log.close()
        self._discovery.close()
        if self.failure is not None:
            raise self.failure

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The vector that an instant query gives."""
        answer = self._ask("query", query=promql)
        result: list[dict[str, Any]] = answer["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def _ask(self, what: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=20.0).json()
        assert answer["status"] == "success", json.dumps(answer)[:500]
        return answer["data"]
