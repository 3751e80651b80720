"""The kubelet's probes while a server is attacked: each second; three failures in a row count."""

import httpx

from tests.attack.scoped_thread import ScopedThread
from tests.serving import Server

TIMEOUT_S = 1.0
FAILURES = 3


class Kubelet(ScopedThread):
    """Probes liveness and readiness on new connections until it is stopped."""

    def __init__(self, server: Server) -> None:
        # Times that the kubelet would have restarted the pod, or taken it out of the endpoints.
        self.verdicts: list[str] = []
        self.probes = 0
        self._server = server
        super().__init__()

    def _run(self) -> None:
        failed = {"live": 0, "ready": 0}
        while not self._stop.wait(1.0):
            for probe, failures in list(failed.items()):
                failed[probe] = 0 if self._passes(probe) else failures + 1
                if failures + 1 == FAILURES and failed[probe]:
                    self.verdicts.append(probe)
            self.probes += 1

    def _passes(self, probe: str) -> bool:
        try:
            url = f"{self._server.url}/v2/health/{probe}"
            return httpx.get(url, timeout=TIMEOUT_S).status_code == 200
        except httpx.TransportError:
            return False
