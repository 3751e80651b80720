"""What stands between the operator's configuration and Debian's Prometheus; without a cluster."""

from pathlib import Path
from typing import Any

from tests.cluster import metrics
from tests.cluster.discovery import targets
from tests.cluster.prometheus import translated

EXPOSITION = """\
# HELP predictor_run_seconds Time of one engine run
# TYPE predictor_run_seconds histogram
predictor_run_seconds_bucket{model="m",le="0.1"} 1.0
predictor_run_seconds_count{model="m"} 1.0
# TYPE predictor_cache_rows gauge
predictor_cache_rows 0.0
"""


def endpoint_slice(**of_service: str) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": "emb-predictor"} | of_service},
        "ports": [{"name": "http", "port": 8080}, {"name": "h2c-grpc", "port": 8081}],
        "endpoints": [
            {
                "addresses": ["10.0.0.1"],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": "emb-1"},
            }
        ],
    }


SERVICE = {"metadata": {"name": "emb-predictor", "namespace": "ns", "labels": {"a.b/c-d": "x"}}}
POD = {
    "metadata": {"name": "emb-1", "uid": "u", "labels": {"app": "isvc.emb-predictor"}},
    "spec": {"nodeName": "n", "containers": [{"name": "kserve-container"}]},
    "status": {"phase": "Running"},
}


def test_a_target_for_each_port_with_prometheus_own_labels() -> None:
    http, grpc = targets([endpoint_slice()], {"emb-predictor": SERVICE}, {"emb-1": POD})
    assert (http["targets"], grpc["targets"]) == (["10.0.0.1:8080"], ["10.0.0.1:8081"])
    labels = http["labels"]
    assert labels["__meta_kubernetes_endpoint_port_name"] == "http"
    assert labels["__meta_kubernetes_service_label_a_b_c_d"] == "x"
    assert labels["__meta_kubernetes_service_labelpresent_a_b_c_d"] == "true"
    assert labels["__meta_kubernetes_pod_label_app"] == "isvc.emb-predictor"
    assert labels["__meta_kubernetes_endpoint_ready"] == "true"


def test_a_slice_of_no_service_is_no_target() -> None:
    assert targets([endpoint_slice()], {}, {"emb-1": POD}) == []


def test_only_the_discovery_of_the_operators_configuration_is_replaced(tmp_path: Path) -> None:
    relabelings = [{"source_labels": ["__tmp_hash"], "regex": "$(SHARD)", "action": "keep"}]
    job = {
        "job_name": "serviceMonitor/ns/emb/0",
        "kubernetes_sd_configs": [{"role": "endpoints", "namespaces": {"names": ["ns", "other"]}}],
        "relabel_configs": relabelings,
    }
    config = {
        "global": {"external_labels": {"prometheus_replica": "$(POD_NAME)"}},
        "scrape_configs": [job],
    }
    changed = translated(config, "http://here/", tmp_path)
    (scrape,) = changed["scrape_configs"]
    assert scrape["http_sd_configs"] == [
        {"url": "http://here/?namespace=ns&namespace=other", "refresh_interval": "1s"}
    ]
    assert "kubernetes_sd_configs" not in scrape
    assert scrape["relabel_configs"] == [{**relabelings[0], "regex": "0"}]
    assert changed["global"]["external_labels"]["prometheus_replica"] == "prometheus-kit-0"
    assert "kubernetes_sd_configs" in job  # what was given stays as it is


def test_a_histogram_has_no_sample_of_its_own_name() -> None:
    assert metrics.samples(EXPOSITION) == {
        "predictor_run_seconds_bucket", "predictor_run_seconds_count", "predictor_cache_rows",
    }  # fmt: skip
    assert metrics.families(EXPOSITION) == {"predictor_run_seconds", "predictor_cache_rows"}


def test_metrics_of_the_charts_are_found() -> None:
    """Queries and autoscalers are asked of Prometheus, texts for people only mention."""
    queried, mentioned = metrics.queried(), metrics.mentioned()
    assert "predictor_request_seconds_bucket" in queried
    assert "predictor_queue_tokens" in queried
    assert queried <= mentioned


def test_a_recorded_name_is_none_of_a_metric() -> None:
    """It has the metric's name in it, which as it stands there is no name of a sample."""
    text = "x:predictor_errors:ratio5m / predictor_cache_rows{a='predictor_b'}"
    assert metrics.NAME.findall(text) == ["predictor_cache_rows", "predictor_b"]


def test_only_some_may_be_without_samples() -> None:
    scrape = "# TYPE predictor_gpu_memory_used_bytes gauge\n# TYPE predictor_queue_tokens gauge\n"
    assert metrics.declared(scrape) == {"predictor_gpu_memory_used_bytes"}
