"""The controller's look at vectors, at real servers."""

from predictor.controller.drivers import Endpoint
from predictor.controller.probe import Probe
from predictor.rollout.spec import read_spec
from tests.serving import Server

SPEC = read_spec(
    {"spec": {"inferenceService": "m", "target": {"name": "v2", "storageUri": "pvc://m/v2"}}}
)


def test_a_version_beside_itself(server: Server) -> None:
    side = Endpoint("emb-predictor", server.url)
    measurement = Probe().measure(SPEC, "minilm", side, side)
    assert (measurement.name, measurement.verdict) == ("vectors", "Successful")
    assert measurement.message == "smallest cosine 1.000000, least 0.999"


def test_a_canary_that_cannot_be_asked_is_no_bad_one(server: Server) -> None:
    stable, unreachable = (
        Endpoint("emb-predictor", server.url),
        Endpoint("emb-v2", "http://127.0.0.1:9"),
    )
    measurement = Probe().measure(SPEC, "minilm", stable, unreachable)
    assert measurement.verdict == "Error"
    assert measurement.message.startswith("canary: http://127.0.0.1:9: cannot be reached")


def test_a_model_that_is_not_there(server: Server) -> None:
    side = Endpoint("emb-predictor", server.url)
    measurement = Probe().measure(SPEC, "nobody", side, side)
    assert measurement.verdict == "Error"
    assert "404" in measurement.message
