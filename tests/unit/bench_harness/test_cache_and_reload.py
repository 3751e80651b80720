"""What decides on the figures of the sections `cache` and `reload`: counts, draws, judgements."""

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from hack.bench import scrape, versions, zipf
from hack.bench.checker import CheckerResult, ResponseFault, check_response
from hack.bench.corpus import Corpus
from hack.bench.correctness import Rows
from hack.bench.sections.reload import Reloads, checkpoints

BEFORE = """\
# TYPE predictor_cache_hits counter
predictor_cache_hits_total{model="m",version="1",tier="memory"} 5.0
# TYPE predictor_request_seconds histogram
predictor_request_seconds_bucket{protocol="v2",le="0.5"} 0.0
predictor_request_seconds_bucket{protocol="v2",le="1.0"} 0.0
predictor_request_seconds_bucket{protocol="v2",le="+Inf"} 0.0
"""
AFTER = """\
# TYPE predictor_cache_hits counter
predictor_cache_hits_total{model="m",version="1",tier="memory"} 11.0
predictor_cache_hits_total{model="m",version="2",tier="memory"} 1.0
predictor_cache_hits_total{model="m",version="1",tier="flight"} 2.0
# TYPE predictor_cache_misses counter
predictor_cache_misses_total{model="m",version="1"} 3.0
# TYPE predictor_request_seconds histogram
predictor_request_seconds_bucket{protocol="v2",le="0.5"} 2.0
predictor_request_seconds_bucket{protocol="v2",le="1.0"} 4.0
predictor_request_seconds_bucket{protocol="v2",le="+Inf"} 5.0
predictor_request_seconds_bucket{protocol="openai",le="0.5"} 0.0
predictor_request_seconds_bucket{protocol="openai",le="1.0"} 5.0
predictor_request_seconds_bucket{protocol="openai",le="+Inf"} 5.0
predictor_request_seconds_count{protocol="v2"} 5.0
predictor_request_seconds_sum{protocol="v2"} 4.0
"""


@pytest.fixture
def during() -> scrape.Metrics:
    return scrape.parse(AFTER).since(scrape.parse(BEFORE))


def test_rows_are_counted_by_where_they_came_from(during: scrape.Metrics) -> None:
    rows = scrape.row_sources(during)
    assert rows == scrape.RowSources(memory=7, redis=0, flight=2, computed=3)
    assert rows.hit_share == 0.75


def test_without_any_row_there_is_no_share() -> None:
    assert math.isnan(scrape.row_sources(scrape.parse("")).hit_share)


def test_quantiles_are_those_of_promql(during: scrape.Metrics) -> None:
    """10 answers: 2 up to 0.5 s, 7 more up to 1 s, and one over that."""
    assert during.quantile(scrape.REQUEST_SECONDS, 0.2) == pytest.approx(0.5)
    assert during.quantile(scrape.REQUEST_SECONDS, 0.5) == pytest.approx(0.5 + 0.5 * 3 / 7)
    assert during.quantile(scrape.REQUEST_SECONDS, 0.99) == 1.0
    assert during.mean(scrape.REQUEST_SECONDS) == pytest.approx(0.8)
    assert math.isnan(during.quantile("predictor_queue_seconds", 0.5))


@pytest.fixture(scope="module")
def popularity() -> zipf.Popularity:
    corpus = Corpus([f"text {i}" for i in range(64)], [7 + 3 * i for i in range(64)])
    return zipf.popularity(corpus, distinct=200)


def test_the_first_text_is_drawn_twice_as_often_as_the_second(popularity: zipf.Popularity) -> None:
    assert len(set(popularity.texts)) == 200
    counts = np.bincount(popularity.draws(100_000, seed=1), minlength=200)
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.05)
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.1)


def test_what_is_drawn_has_the_mean_length_of_the_corpus(popularity: zipf.Popularity) -> None:
    tokens = [7 + 3 * int(text.rpartition(" ")[2]) for text in popularity.texts]
    assert np.dot(popularity.weights, tokens) == pytest.approx(7 + 3 * 31.5, rel=zipf.TOLERANCE)


def test_draws_are_the_same_for_each_server_and_others_in_each_run(
    popularity: zipf.Popularity,
) -> None:
    first = popularity.draws(50, seed=1)
    np.testing.assert_array_equal(first, popularity.draws(50, seed=1))
    assert (first != popularity.draws(50, seed=2)).any()


def test_an_ideal_cache_holds_the_most_frequent() -> None:
    assert zipf.ideal_share(np.array([0, 5, 1, 0, 9]), rows=2) == 0.6


# The judgement of one answer

REFERENCE: Rows = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)


def answer(rows: Rows, version: str = "1") -> bytes:
    data = [{"index": index, "embedding": row} for index, row in enumerate(rows.tolist())]
    return json.dumps({"data": data, "model_version": version}).encode()


def kind(status: int, header: str | None, body: bytes) -> str:
    outcome = check_response(status, header, body, REFERENCE)
    return outcome.kind if isinstance(outcome, ResponseFault) else f"version {outcome}"


def test_right_answers_of_both_versions() -> None:
    assert kind(200, "1", answer(REFERENCE)) == "version 1"
    assert kind(200, "2", answer(-REFERENCE, "2")) == "version 2"


def test_an_answer_has_to_be_of_the_version_that_it_names() -> None:
    assert kind(200, "2", answer(REFERENCE, "2")) == "wrong"
    assert kind(200, "1", answer(REFERENCE[::-1])) == "wrong"
    assert kind(200, "1", answer(REFERENCE[:1])) == "wrong"
    assert kind(200, "1", answer(REFERENCE * np.float32(np.nan))) == "wrong"


def test_rows_of_two_versions_in_one_answer_are_seen() -> None:
    signs = np.array([[1], [-1]], dtype=np.float32)
    assert kind(200, "1", answer(REFERENCE * signs)) == "mixed"


def test_header_and_body_have_to_name_one_known_version() -> None:
    assert kind(200, "2", answer(REFERENCE)) == "unnamed"
    assert kind(200, None, answer(REFERENCE)) == "unnamed"
    assert kind(200, "3", answer(REFERENCE, "3")) == "unnamed"


def test_refusals_are_failures_and_the_first_is_kept_in_words() -> None:
    checked = CheckerResult()
    for status, body in ((503, b"not ready"), (500, b"broken"), (200, answer(REFERENCE))):
        checked.take(check_response(status, "1", body, REFERENCE))
    assert (checked.requests, checked.faults["failed"], checked.versions["1"]) == (3, 2, 1)
    assert "not ready" in checked.first["failed"]


def test_the_second_version_gives_the_negated_vectors(tmp_path: Path) -> None:
    """Also where another node reads what is the graph's output."""
    value = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [2])
    nodes = [
        helper.make_node("Abs", ["x"], ["embedding"]),
        helper.make_node("Identity", ["embedding"], ["unused"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [value]), opset_imports=opset)
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path))
    versions.negate(path)
    onnx.checker.check_model(onnx.load(str(path)))
    (out,) = ReferenceEvaluator(str(path)).run(None, {"x": np.array([3, -4], dtype=np.float32)})
    np.testing.assert_array_equal(out, [-3, -4])


def test_memory_is_read_early_in_the_middle_and_at_the_end() -> None:
    assert checkpoints(100) == [10, 50, 100]
    assert checkpoints(10) == [1, 5, 10]
    assert checkpoints(1) == [1]


def test_a_figure_of_memory_is_the_median_of_the_readings_before_it() -> None:
    done = Reloads(rss={6: 1, 7: 900, 8: 3, 9: 4, 10: 5, 50: 7})
    assert (done.rss_near(10), done.rss_near(50)) == (4, 7)
