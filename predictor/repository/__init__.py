"""From directories to model versions that may take traffic, and from one version to the next."""

from predictor.repository.answers import Answers
from predictor.repository.layout import find_version
from predictor.repository.live import Repository
from predictor.repository.opening import LoadedModel, candidate_variants, open_model, open_version

__all__ = [
    "Answers",
    "LoadedModel",
    "Repository",
    "candidate_variants",
    "find_version",
    "open_model",
    "open_version",
]
