"""Variables that Kubernetes sets in a pod for each Service of its namespace (service links).

The Service `predictor-admin` sets PREDICTOR_ADMIN_PORT=tcp://10.0.0.1:80: the name is that of a
setting, but the value is not meant for it. Pods of the charts have no such variables, because of
`enableServiceLinks: false`; a pod that is made without the charts has them.
"""

import re
from collections.abc import Mapping

# Set for each port, and once more without the number for the first port.
_URL_NAME = re.compile(r"(?P<service>PREDICTOR(_[A-Z0-9_]+?)?)_PORT(_\d+_(TCP|UDP|SCTP))?")
_URL = re.compile(r"(tcp|udp|sctp)://\S+:\d+")
# Set beside them, after the Service's part of the name. Their values have no form of their own.
_OTHERS = re.compile(r"_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT_\d+_\w+_(PROTO|PORT|ADDR)")


def service_links(environment: Mapping[str, str]) -> list[str]:
    """The names of the variables PREDICTOR_* that are service links, in alphabetical order.

    A variable that is set on the container replaces the link of the same name. It is no link,
    because its value is no URL such as tcp://10.0.0.1:80.
    """
    urls = {
        name: match["service"]
        for name, value in environment.items()
        if (match := _URL_NAME.fullmatch(name)) and _URL.fullmatch(value)
    }
    others = (
        name
        for name in environment
        for service in set(urls.values())
        if name.startswith(service) and _OTHERS.fullmatch(name, len(service))
    )
    return sorted({*urls, *others})
