"""From directories to model versions that answer requests, and from one version to the next."""

from predictor.repository.arrival import await_model_dir
from predictor.repository.layout import find_version
from predictor.repository.load import LoadedModel, candidate_variants, load_model, load_version
from predictor.repository.memory_need import needed_by_source, needed_bytes
from predictor.repository.repository import Repository
from predictor.repository.routing_table import RoutingTable
from predictor.repository.survey import FolderSurvey, survey

__all__ = [
    "FolderSurvey",
    "LoadedModel",
    "Repository",
    "RoutingTable",
    "await_model_dir",
    "candidate_variants",
    "find_version",
    "load_model",
    "load_version",
    "needed_by_source",
    "needed_bytes",
    "survey",
]
