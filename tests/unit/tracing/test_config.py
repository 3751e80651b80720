"""When there is tracing, and to where."""

import pytest

from predictor.tracing.config import Config, read_config

ENDPOINT, TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
# What KServe's `spec.tracing: {}` puts into the container.
KSERVE = {
    "OTEL_SERVICE_NAME": "minilm-predictor",
    ENDPOINT: "http://otel-collector:4317",
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.05",
}


def config(mode: str = "auto", **environment: str) -> Config:
    read = read_config(mode, environment)
    assert read is not None
    return read


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: " "},
        {ENDPOINT: "http://c:4317", "OTEL_SDK_DISABLED": "True"},
        {ENDPOINT: "http://c:4317", "OTEL_TRACES_EXPORTER": "none"},
        {ENDPOINT: "http://c:4317", "OTEL_TRACES_EXPORTER": "console"},
        {"OTEL_SERVICE_NAME": "x"},
    ],
)
def test_off_unless_the_environment_names_a_collector(environment: dict[str, str]) -> None:
    assert read_config("auto", environment) is None


@pytest.mark.parametrize(
    "environment", [KSERVE, {TRACES_ENDPOINT: "c:4317"}, {ENDPOINT: "http://c:4318"}]
)
def test_on_if_it_does(environment: dict[str, str]) -> None:
    assert read_config("auto", environment) is not None


def test_the_flag_goes_before_the_environment() -> None:
    assert read_config("off", KSERVE) is None
    assert config("otlp", OTEL_SDK_DISABLED="true").endpoint == "http://localhost:4317"


def test_kserve_speaks_grpc() -> None:
    result = config(**KSERVE)
    assert (result.protocol, result.endpoint) == ("grpc", "http://otel-collector:4317")
    assert result.timeout_s == 10.0


@pytest.mark.parametrize(
    ("environment", "protocol", "endpoint"),
    [
        ({ENDPOINT: "http://c:4318"}, "http/protobuf", "http://c:4318/v1/traces"),
        ({ENDPOINT: "http://c:4318/"}, "http/protobuf", "http://c:4318/v1/traces"),
        ({TRACES_ENDPOINT: "http://c:4318/x"}, "http/protobuf", "http://c:4318/x"),
        ({TRACES_ENDPOINT: "http://c:4318/x", ENDPOINT: "http://d:4317"}, "http/protobuf", "http://c:4318/x"),
        ({ENDPOINT: "https://c"}, "grpc", "https://c"),
        ({ENDPOINT: "http://[bad"}, "grpc", "http://[bad"),
        (
            {ENDPOINT: "https://c/otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "http/protobuf",
            "https://c/otlp/v1/traces",
        ),
        (
            {
                ENDPOINT: "http://c:4318",
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
    result = config("otlp", **environment)
    assert (result.protocol, result.endpoint) == (protocol, endpoint)


@pytest.mark.parametrize(("name", "protocol"), [("http/json", "http/protobuf"), ("thrift", "grpc")])
def test_another_protocol_is_warned_of(
    name: str, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = config(**{ENDPOINT: "http://c:9999", "OTEL_EXPORTER_OTLP_PROTOCOL": name})
    assert result.protocol == protocol
    assert name in caplog.text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 10.0), ("2500", 2.5), ("10", 1.0), ("9999999", 30.0), ("soon", 10.0), ("nan", 30.0)],
)
def test_an_export_takes_a_second_to_half_a_minute(text: str, seconds: float) -> None:
    assert config(**{ENDPOINT: "http://c:4317", "OTEL_EXPORTER_OTLP_TIMEOUT": text}).timeout_s == (
        seconds
    )


def test_a_password_is_not_for_the_log() -> None:
    assert config(**{ENDPOINT: "https://me:secret@c:4318"}).address == "c:4318/v1/traces"
