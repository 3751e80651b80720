"""The parts of the benchmark that decide what a figure means, without servers or load."""

import base64
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from hack.bench import corpus, correctness, h2load, process, wrk
from hack.bench.grpc_body import infer_request
from hack.bench.harness import figure
from hack.bench.report import COLUMNS, OURS, Figure, PeerReport, TableRow
from hack.bench.sections.served import LoadShape, duration


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One token a word and a full stop, and BERT's two special tokens."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = [("[CLS]", 1), ("[SEP]", 2)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, special)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def mixed(tokenizer_file: Path) -> corpus.Corpus:
    return corpus.mixed(tokenizer_file)


def test_lengths_are_those_of_the_workload(mixed: corpus.Corpus) -> None:
    assert np.median(mixed.tokens) == pytest.approx(23, abs=1)
    assert np.mean(mixed.tokens) == pytest.approx(34.6, abs=1)
    assert np.percentile(mixed.tokens, 95) == pytest.approx(101, abs=3)
    assert max(mixed.tokens) == 256


def test_texts_are_distinct_plain_and_the_same_again(
    mixed: corpus.Corpus, tokenizer_file: Path
) -> None:
    assert len(set(mixed.texts)) == len(mixed.texts) == corpus.COUNT
    # requests.lua puts texts into JSON as they are.
    assert not any(set(text) & set('"\\\n') for text in mixed.texts)
    assert corpus.mixed(tokenizer_file) == mixed


def test_every_block_holds_the_whole_distribution(mixed: corpus.Corpus) -> None:
    blocks = np.array(mixed.tokens).reshape(-1, corpus.BLOCK)
    assert np.ptp(blocks.mean(axis=1)) < 4


def test_queries_have_16_tokens(tokenizer_file: Path) -> None:
    assert set(corpus.queries(tokenizer_file).tokens) == {16}


def test_tokens_are_counted_round_and_round() -> None:
    texts = corpus.Corpus(["a", "b", "c"], [5, 7, 9])
    assert texts.tokens_in_first(2) == 12
    assert texts.tokens_in_first(7) == 21 + 21 + 5


def test_wrk_counts_every_kind_of_error() -> None:
    line = (
        '{"requests":300,"microseconds":2000000,"connect":1,"read":2,"write":3,"timeout":4,'
        '"status":5,"p50":6500,"p99":12000}'
    )
    counts = wrk.parse(f"Running 2s test\n{line}\n")
    assert (counts.rate, counts.errors, counts.p50_ms, counts.p99_ms) == (150, 15, 6.5, 12)


def test_no_answer_at_all_is_an_error() -> None:
    line = (
        '{"requests":0,"microseconds":2000000,"connect":0,"read":0,"write":0,"timeout":0,'
        '"status":0,"p50":0,"p99":0}'
    )
    assert wrk.parse(line).errors == 1


H2LOAD = """
finished in 2.00s, 1639.50 req/s, 2.60MB/s
requests: 3279 total, 3343 started, 3279 done, 3279 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 3279 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 5.20MB (5452345) total, 96.3KB (98564) headers (space savings 80%), 5.05MB (5298864) data
"""


def test_h2load_is_read() -> None:
    assert h2load.parse(H2LOAD) == h2load.H2loadCounts(3279, 0, 5298864)


def test_grpc_answers_without_a_message_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([h2load.H2loadCounts(4, 0, 4 * 1600), h2load.H2loadCounts(1000, 0, 900 * 1600)])
    monkeypatch.setattr(h2load, "_h2load", lambda *_: next(counts))
    assert h2load.run(1, Path("body"), 64, 2).errors == 100


def test_grpc_body_is_a_model_infer_request() -> None:
    """Read in a process of its own: Triton's and KServe's messages have the same names, and a
    process can have only one of them.
    """
    pytest.importorskip("tritonclient")
    framed = infer_request("minilm", "long enough for a length of two bytes " * 10)
    assert framed[0] == 0
    assert int.from_bytes(framed[1:5], "big") == len(framed) - 5
    code = (
        "import sys; from tritonclient.grpc.service_pb2 import ModelInferRequest; "
        "r = ModelInferRequest.FromString(sys.stdin.buffer.read()); t = r.inputs[0]; "
        "print(r.model_name, t.name, t.datatype, *t.shape, r.raw_input_contents[0][4:15].decode())"
    )
    command = [sys.executable, "-c", code]
    decoded = subprocess.run(command, input=framed[5:], capture_output=True, check=True).stdout
    assert decoded.decode().strip() == "minilm text BYTES 1 long enough"


def test_vectors_of_all_answers() -> None:
    rows = np.array([[1, 2], [3, 4]], dtype="<f4")
    v2 = {"outputs": [{"shape": [2, 2], "data": [1, 2, 3, 4]}]}
    floats = {"data": [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2]}]}
    encoded = [base64.b64encode(row.tobytes()).decode() for row in rows]
    packed = {"data": [{"index": i, "embedding": row} for i, row in enumerate(encoded)]}
    for answer in (v2, floats, packed):
        np.testing.assert_array_equal(correctness.vectors(answer), rows)


def test_the_worst_row_decides_on_agreement() -> None:
    rows = np.array([[1, 0], [0, 2]], dtype=np.float32)
    other = np.array([[3, 0], [1, 1]], dtype=np.float32)
    assert correctness.smallest_cosine(rows, other) == pytest.approx(0.7071, abs=1e-4)


def test_ratios_are_of_medians_and_errors_spoil_them() -> None:
    good = figure([{"x": 1}, {"x": 4}, {"x": 100}], "x")
    bad = figure([{"x": 2, "errors": 1}], "x")
    assert (good.median, good.errors, good.over(good).median) == (4, 0, 1)
    assert str(good.over(bad)) == "invalid (1 errors)"


def test_a_figure_with_errors_makes_the_report_invalid() -> None:
    machine = {"cpu": "some", "cores": 2, "instruction_sets": ["avx2"]}
    report = PeerReport(machine, {"peer": "1.0"})
    report.rows.append(TableRow("served", "throughput, c=1", "texts/s", {OURS: Figure((1234.5,))}))
    assert report.valid
    assert "1,234" in report.table()
    assert all(column in report.table() for column in COLUMNS)
    report.rows.append(TableRow("served", "p50, c=1", "ms", {OURS: Figure((2,), errors=3)}))
    assert not report.valid


def test_slow_servers_get_the_time_for_several_answers() -> None:
    assert duration(LoadShape(8), 400, 6) == 6
    assert duration(LoadShape(256), 100, 6) == pytest.approx(10.24)
    assert duration(LoadShape(256), 1, 6) == 30


def test_a_server_ends_with_its_children(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print('up', flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    with process.running([sys.executable, "-c", code], {}, tmp_path, log) as parent:
        while "up" not in log.read_text():
            assert parent.poll() is None
        family = process.family(parent.pid)
        assert len(family) == 2
        assert process.memory(parent.pid).rss > process.memory(family[1]).rss > 0
    assert parent.returncode is not None
    ended = time.monotonic() + 5  # a killed orphan is there until init has read its status
    while is_running(family[1]):
        assert time.monotonic() < ended
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Not gone, and no zombie that waits for its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
