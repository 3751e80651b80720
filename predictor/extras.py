"""The libraries of optional features, and the command that installs those of one feature.

Errors name the libraries themselves. `predictor` on the public index is a package of somebody else,
and `.[torch]` means this project only in a folder with its sources.
"""

# As `optional-dependencies` of pyproject.toml has them; a test compares the two.
EXTRAS: dict[str, tuple[str, ...]] = {
    "gpu": ("nvidia-ml-py>=12.535", "onnxruntime-gpu[cuda,cudnn]>=1.31"),
    "hub": ("huggingface_hub>=0.30",),
    "otel": (
        "opentelemetry-exporter-otlp-proto-grpc>=1.45",
        "opentelemetry-exporter-otlp-proto-http>=1.45",
        "opentelemetry-sdk>=1.45",
    ),
    "plot": ("matplotlib>=3.9",),
    "redis": ("redis>=6",),
    "storage": ("kserve-storage>=0.21,<0.22",),
    "torch": ("sentence-transformers>=5", "torch>=2.6", "transformers>=4.50"),
}


def install(extra: str) -> str:
    """The command that installs the libraries of an optional feature."""
    return "pip install " + " ".join(f"'{requirement}'" for requirement in EXTRAS[extra])
