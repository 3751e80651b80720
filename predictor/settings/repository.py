"""Which versions are served, where they come from, and how changes are found."""

from typing import Annotated

from msgspec import Meta, Struct


class RepositorySettings(Struct, frozen=True, kw_only=True):
    """Repository: which versions are served, and how changes are found."""

    version_policy: Annotated[
        str,
        Meta(
            description="Versions to serve of each model: latest:N, all, or specific:1,3. A "
            "policy for one model follows after a semicolon: latest:1; minilm=specific:1,3.",
        ),
    ] = "latest:1"
    default_model: Annotated[
        str,
        Meta(
            description="Model for requests that name none (TEI's routes). Empty: the only model, "
            "or the one called --model_name.",
        ),
    ] = ""
    poll_interval_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds between two scans for new, changed and removed versions. 0: scan "
            "only on SIGHUP and when the repository API is called, because a model under KServe "
            "does not change.",
        ),
    ] = 0.0
    model_dir_wait_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds to wait at the start for a --model-dir that does not exist yet, "
            "because a sidecar or a mount makes it appear.",
        ),
    ] = 30.0
    memory_limit_mb: Annotated[
        int,
        Meta(
            ge=0,
            description="MiB that the process may use after a version is loaded. A version that "
            "would exceed it is not loaded. 0: 90 % of the cgroup's limit, so that the kernel "
            "does not kill the process.",
        ),
    ] = 0
    trial_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            description="Seconds after which the trial of a version is ended. If there are several "
            "versions, each is loaded in a process of its own before it is loaded to be served.",
        ),
    ] = 600.0
    warm_versions: Annotated[
        int,
        Meta(
            ge=0,
            description="Replaced versions that stay loaded, the most recently used first, while "
            "memory allows. Returning to one of them needs no loading.",
        ),
    ] = 1
    pin_versions: Annotated[
        str,
        Meta(
            description="Versions that, once loaded, are never unloaded to make room, such as "
            "m:1,other:3.",
        ),
    ] = ""
    model_uri: Annotated[
        str,
        Meta(
            description="URI (s3://, gs://, hf://, https:// and others) from which to fetch the "
            "model or the repository instead of --model-dir. It needs kserve-storage. Under "
            "KServe, use storageUri instead.",
        ),
    ] = ""
    download_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            description="Seconds after which a fetch of --model-uri is stopped.",
        ),
    ] = 600.0
