"""Kubernetes objects as the controller handles them: dictionaries, as the API server sends them."""

from typing import Any

Object = dict[str, Any]


def key_of(item: Object) -> tuple[str, str]:
    """Namespace and name."""
    metadata = item["metadata"]
    return metadata["namespace"], metadata["name"]


def annotations_of(item: Object) -> dict[str, str]:
    annotations: dict[str, str] = item["metadata"].get("annotations") or {}
    return annotations
