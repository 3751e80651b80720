"""Whether the vectors are still right, and whether the traffic has changed."""

from typing import Annotated

from msgspec import Meta, Struct


class DriftSettings(Struct, frozen=True, kw_only=True):
    """Drift: whether the vectors are still right, and whether the traffic has changed."""

    canonical_interval_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds between two checks in which the canonical texts (36 short ones) "
            "run through the server with ingest priority and are compared with the vectors in "
            "the bundle. The first check follows at once after loading. 0: no checks.",
        ),
    ] = 300.0
    drift_window_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds of the shortest window in which a sample of the traffic is "
            "compared with the reference of the version. A window also has at least 1000 texts. "
            "0: the traffic is not watched.",
        ),
    ] = 900.0
    drift_learn_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds of traffic from which the reference of a version is made, if it "
            "comes without one.",
        ),
    ] = 86400.0
    drift_dir: Annotated[
        str,
        Meta(
            description="Directory for references and latest windows, which hold projected "
            "vectors and no texts. Several pods may share it. Empty: a folder in --cache-dir.",
        ),
    ] = ""
