"""What Kubernetes sets for the Services of a namespace is not read as a setting."""

import pytest

from predictor.errors import BadSetting
from predictor.settings import GROUPS, Settings, fields_of, read_settings, service_links
from predictor.settings.retired import RENAMED

VARIABLES = [
    variable
    for group in GROUPS.values()
    for field in fields_of(group)
    for variable in field.variables
    if variable.startswith("PREDICTOR_")
]


def links_of(name: str, address: str = "10.96.0.7", port: int = 80) -> dict[str, str]:
    """What the kubelet sets for a Service with one port, called http (pkg/kubelet/envvars)."""
    prefix = name.upper().replace("-", "_")
    host = f"[{address}]" if ":" in address else address
    url = f"tcp://{host}:{port}"
    return {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(port),
        f"{prefix}_SERVICE_PORT_HTTP": str(port),
        f"{prefix}_PORT": url,
        f"{prefix}_PORT_{port}_TCP": url,
        f"{prefix}_PORT_{port}_TCP_PROTO": "tcp",
        f"{prefix}_PORT_{port}_TCP_PORT": str(port),
        f"{prefix}_PORT_{port}_TCP_ADDR": address,
    }


@pytest.mark.parametrize("name", ["predictor-admin", "predictor-http", "predictor-grpc"])
def test_a_service_whose_port_has_the_name_of_a_setting_changes_nothing(name: str) -> None:
    assert read_settings({}, links_of(name)) == Settings()


@pytest.mark.parametrize("name", ["predictor", "predictor-admin", "predictor-2-v1"])
@pytest.mark.parametrize("address", ["10.96.0.7", "fd00::7"])
def test_every_variable_of_a_service_is_a_link(name: str, address: str) -> None:
    links = links_of(name, address)
    assert service_links(links) == sorted(links)


@pytest.mark.parametrize("protocol", ["udp", "sctp"])
def test_links_have_the_protocol_of_the_port(protocol: str) -> None:
    links = {f"PREDICTOR_ADMIN_PORT_53_{protocol.upper()}": f"{protocol}://10.96.0.7:53"}
    assert service_links(links) == list(links)


def test_services_of_other_names_are_none_of_ours() -> None:
    assert service_links(links_of("kubernetes") | links_of("my-predictor")) == []


@pytest.mark.parametrize("variable", [*VARIABLES, *(f"PREDICTOR_{n.upper()}" for n in RENAMED)])
def test_no_setting_is_taken_for_a_link_beside_links(variable: str) -> None:
    """Also PREDICTOR_ADMIN_PORT, if the container sets it: that value replaces the link's."""
    environment = links_of("predictor") | links_of("predictor-admin") | {variable: "9090"}
    assert variable not in service_links(environment)


def test_a_variable_of_the_container_counts_beside_the_links() -> None:
    environment = links_of("predictor-admin") | {"PREDICTOR_ADMIN_PORT": "9090"}
    assert read_settings({}, environment).access.admin_port == 9090


@pytest.mark.parametrize("value", ["tcp://10.96.0.7", "http://10.96.0.7:80", "tcp", "80/tcp"])
def test_another_wrong_value_is_refused(value: str) -> None:
    with pytest.raises(BadSetting, match="PREDICTOR_ADMIN_PORT"):
        read_settings({}, {"PREDICTOR_ADMIN_PORT": value})
