"""The same texts to canary and stable version, past the caches: are the vectors as they should be.

Texts of our own, in several languages and lengths; no user sees the canary for it.
"""

from dataclasses import replace

import numpy as np

from predictor.comparison.endpoint import infer
from predictor.comparison.exchange import model_route, parse
from predictor.controller.drivers import Side
from predictor.errors import PredictorError
from predictor.export.corpus import verification
from predictor.fidelity import cosines, directed, neighbour_overlap, neighbourhood
from predictor.rollout.spec import Spec
from predictor.rollout.state import Measure, Verdict
from predictor.types import FloatRows

# Texts a look, and a request: little beside the clients' traffic.
TEXTS, BATCH = 32, 8
TIMEOUT_S = 20.0
PARAMETERS = {"normalize": True, "cache": "off", "priority": "ingest"}
NAME = "vectors"


class Probe:
    """Asks both sides of one InferenceService. key: an API key for both, if they want one."""

    def __init__(self, key: str = "") -> None:
        self._key = key
        self._texts = list(dict.fromkeys(verification()))[:TEXTS]

    def measure(self, spec: Spec, model: str, stable: Side, canary: Side) -> Measure:
        """One look at the vectors; never raises.

        Args:
            model: its name in requests.
        """
        answers = []
        for who, side in (("stable version", stable), ("canary", canary)):
            try:
                answers.append(self._vectors(side, model))
            except PredictorError as error:
                return Measure(NAME, "Error", f"{who}: {error}"[:300])
        return judge_vectors(spec, *answers)

    def _vectors(self, side: Side, model: str) -> FloatRows:
        """Raises PredictorError."""
        path = model_route(model)
        address = replace(parse(side.url), path=path, key=self._key, timeout_s=TIMEOUT_S)
        batches = [self._texts[at : at + BATCH] for at in range(0, len(self._texts), BATCH)]
        return np.concatenate([infer(address, batch, PARAMETERS).raw for batch in batches])


def judge_vectors(spec: Spec, stable: FloatRows, canary: FloatRows) -> Measure:
    """Rows `[N, dimensions]` of the same texts, each side's."""
    if not directed(canary).all():
        return Measure(NAME, "Failed", "the canary gives vectors that are none")
    if spec.vectors == "Changed":
        overlap = float(neighbour_overlap(stable, canary, neighbourhood(len(stable))).mean())
        least = spec.analysis.vectors.min_overlap
        verdict: Verdict = "Successful" if overlap >= least else "Failed"
        return Measure(NAME, verdict, f"{overlap:.3f} of the neighbours in common, least {least}")
    if stable.shape[1] != canary.shape[1]:
        told = f"{canary.shape[1]} dimensions, the stable version gives {stable.shape[1]}"
        return Measure(NAME, "Failed", told)
    smallest, least = float(cosines(stable, canary).min()), spec.analysis.vectors.tolerance
    verdict = "Successful" if smallest >= least else "Failed"
    return Measure(NAME, verdict, f"smallest cosine {smallest:.6f}, least {least}")
