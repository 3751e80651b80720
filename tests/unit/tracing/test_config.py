"""When there is tracing, and to where."""

import pytest

from predictor.tracing.config import Config, read_config

BASE, OWN = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
# What KServe's `spec.tracing: {}` puts into the container.
KSERVE = {
    "OTEL_SERVICE_NAME": "minilm-predictor",
    BASE: "http://otel-collector:4317",
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.05",
}


def config(mode: str = "auto", **environment: str) -> Config:
    found = read_config(mode, environment)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {BASE: ""},
        {BASE: " "},
        {BASE: "http://c:4317", "OTEL_SDK_DISABLED": "True"},
        {BASE: "http://c:4317", "OTEL_TRACES_EXPORTER": "none"},
        {BASE: "http://c:4317", "OTEL_TRACES_EXPORTER": "console"},
        {"OTEL_SERVICE_NAME": "x"},
    ],
)
def test_off_unless_the_environment_names_a_collector(environment: dict[str, str]) -> None:
    assert read_config("auto", environment) is None


@pytest.mark.parametrize("environment", [KSERVE, {OWN: "c:4317"}, {BASE: "http://c:4318"}])
def test_on_if_it_does(environment: dict[str, str]) -> None:
    assert read_config("auto", environment) is not None


def test_the_flag_goes_before_the_environment() -> None:
    assert read_config("off", KSERVE) is None
    assert config("otlp", OTEL_SDK_DISABLED="true").endpoint == "http://localhost:4317"


def test_kserve_speaks_grpc() -> None:
    found = config(**KSERVE)
    assert (found.protocol, found.endpoint) == ("grpc", "http://otel-collector:4317")
    assert found.timeout_s == 10.0


@pytest.mark.parametrize(
    ("environment", "protocol", "endpoint"),
    [
        ({BASE: "http://c:4318"}, "http/protobuf", "http://c:4318/v1/traces"),
        ({BASE: "http://c:4318/"}, "http/protobuf", "http://c:4318/v1/traces"),
        ({OWN: "http://c:4318/x"}, "http/protobuf", "http://c:4318/x"),
        ({OWN: "http://c:4318/x", BASE: "http://d:4317"}, "http/protobuf", "http://c:4318/x"),
        ({BASE: "https://c"}, "grpc", "https://c"),
        ({BASE: "http://[bad"}, "grpc", "http://[bad"),
        (
            {BASE: "https://c/otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "http/protobuf",
            "https://c/otlp/v1/traces",
        ),
        (
            {
                BASE: "http://c:4318",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
            },
            "grpc",
            "http://c:4318",
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http/protobuf",
         "http://localhost:4318/v1/traces"),
    ],
)  # fmt: skip
def test_protocol_and_endpoint(environment: dict[str, str], protocol: str, endpoint: str) -> None:
    found = config("otlp", **environment)
    assert (found.protocol, found.endpoint) == (protocol, endpoint)


@pytest.mark.parametrize(("name", "taken"), [("http/json", "http/protobuf"), ("thrift", "grpc")])
def test_another_protocol_is_warned_of(
    name: str, taken: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = config(**{BASE: "http://c:9999", "OTEL_EXPORTER_OTLP_PROTOCOL": name})
    assert found.protocol == taken
    assert name in caplog.text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 10.0), ("2500", 2.5), ("10", 1.0), ("9999999", 30.0), ("soon", 10.0), ("nan", 30.0)],
)
def test_an_export_takes_a_second_to_half_a_minute(text: str, seconds: float) -> None:
    assert config(**{BASE: "http://c:4317", "OTEL_EXPORTER_OTLP_TIMEOUT": text}).timeout_s == (
        seconds
    )


def test_a_password_is_not_for_the_log() -> None:
    assert config(**{BASE: "https://me:secret@c:4318"}).address == "c:4318/v1/traces"
