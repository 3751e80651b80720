"""The controller's look at vectors, at real servers."""

from predictor.controller.drivers import Side
from predictor.controller.probing import Probe
from predictor.rollout.spec import read_spec
from tests.serving import Server

SPEC = read_spec(
    {"spec": {"inferenceService": "m", "target": {"name": "v2", "storageUri": "pvc://m/v2"}}}
)


def test_a_version_beside_itself(server: Server) -> None:
    side = Side("emb-predictor", server.url)
    found = Probe().measure(SPEC, "minilm", side, side)
    assert (found.name, found.verdict) == ("vectors", "Successful")
    assert found.text == "smallest cosine 1.000000, least 0.999"


def test_a_canary_that_cannot_be_asked_is_no_bad_one(server: Server) -> None:
    stable, gone = Side("emb-predictor", server.url), Side("emb-v2", "http://127.0.0.1:9")
    found = Probe().measure(SPEC, "minilm", stable, gone)
    assert found.verdict == "Error"
    assert found.text.startswith("canary: http://127.0.0.1:9: cannot be reached")


def test_a_model_that_is_not_there(server: Server) -> None:
    side = Side("emb-predictor", server.url)
    found = Probe().measure(SPEC, "nobody", side, side)
    assert found.verdict == "Error"
    assert "404" in found.text
