"""Compares vectors: the same texts to canary and stable version, without their caches.

The texts are our own, in several languages and lengths; no client's request reaches the canary.
"""

from dataclasses import replace

import numpy as np

from predictor.bundle.corpus import verification
from predictor.client.http import Address, model_route, parse
from predictor.client.v2 import configuration, infer
from predictor.controller.drivers import Endpoint
from predictor.errors import PredictorError
from predictor.rollout.spec import Spec
from predictor.rollout.state import Measurement, Verdict
from predictor.similarity import cosines, directed, neighbour_overlap, neighbourhood
from predictor.types import FloatRows

# Of one analysis: little beside the clients' traffic.
TEXTS = 32
# Of one request.
BATCH_TEXTS = 8
TIMEOUT_S = 20.0
PARAMETERS = {"normalize": True, "cache": "off", "priority": "ingest"}
NAME = "vectors"


class Probe:
    """Sends texts to both versions.

    Args:
        key: an API key for both; empty: none.
    """

    def __init__(self, key: str = "") -> None:
        self._key = key
        self._texts = list(dict.fromkeys(verification()))[:TEXTS]

    def measure(self, spec: Spec, model: str, stable: Endpoint, canary: Endpoint) -> Measurement:
        """Compare the vectors once; never raises.

        Args:
            model: its name in requests.
        """
        vectors = []
        configurations = []
        for version, endpoint in (("stable version", stable), ("canary", canary)):
            try:
                address = self._address(endpoint, model)
                vectors.append(self._vectors(address))
                configurations.append(configuration(address))
            except PredictorError as error:
                return Measurement(NAME, "Error", f"{version}: {error}"[:300])
        return judge_configurations(spec, *configurations) or judge_vectors(spec, *vectors)

    def _address(self, endpoint: Endpoint, model: str) -> Address:
        """Raises PredictorError."""
        path = model_route(model)
        return replace(parse(endpoint.url), path=path, key=self._key, timeout_s=TIMEOUT_S)

    def _vectors(self, address: Address) -> FloatRows:
        """Raises PredictorError."""
        starts = range(0, len(self._texts), BATCH_TEXTS)
        batches = [self._texts[start : start + BATCH_TEXTS] for start in starts]
        return np.concatenate([infer(address, batch, PARAMETERS).raw for batch in batches])


def judge_configurations(spec: Spec, stable: str, canary: str) -> Measurement | None:
    """Judge the ids of both configurations; None: they are no reason against the canary.

    The texts of the probe get the default prompt and length 1, so vectors alone would not show that
    other prompts or another length are configured. An id may be empty: it is not known.
    """
    if spec.vectors == "Changed" or not stable or not canary or stable == canary:
        return None
    return Measurement(
        NAME,
        "Failed",
        f"the canary has configuration {canary} (prompts and normalisation, see its /info), the "
        f"stable version {stable}; where that is meant, set vectors: Changed",
    )


def judge_vectors(spec: Spec, stable: FloatRows, canary: FloatRows) -> Measurement:
    """Judge rows `[N, dimensions]` of both versions for the same texts."""
    if not directed(canary).all():
        return Measurement(NAME, "Failed", "the canary gives invalid vectors")
    if spec.vectors == "Changed":
        overlap = float(neighbour_overlap(stable, canary, neighbourhood(len(stable))).mean())
        least = spec.analysis.vectors.min_overlap
        verdict: Verdict = "Successful" if overlap >= least else "Failed"
        return Measurement(
            NAME, verdict, f"{overlap:.3f} of the neighbours in common, least {least}"
        )
    if stable.shape[1] != canary.shape[1]:
        message = f"{canary.shape[1]} dimensions, the stable version gives {stable.shape[1]}"
        return Measurement(NAME, "Failed", message)
    smallest = float(cosines(stable, canary).min())
    least = spec.analysis.vectors.tolerance
    verdict = "Successful" if smallest >= least else "Failed"
    return Measurement(NAME, verdict, f"smallest cosine {smallest:.6f}, least {least}")
