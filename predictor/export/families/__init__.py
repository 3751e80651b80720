"""The encoder families that are built from their weights, by `model_type` of config.json."""

from collections.abc import Callable

from predictor.export.config import ModelConfig
from predictor.export.families.bert import bert, distilbert, mpnet, roberta
from predictor.export.families.encoder import Encoder
from predictor.export.families.gte import gte
from predictor.export.families.modernbert import modernbert
from predictor.export.families.nomic import nomic

FAMILIES: dict[str, Callable[[ModelConfig], Encoder]] = {
    "bert": bert,
    "roberta": roberta,
    "xlm-roberta": roberta,
    "camembert": roberta,
    "mpnet": mpnet,
    "distilbert": distilbert,
    "modernbert": modernbert,
    "nomic_bert": nomic,
    "gte": gte,
    "new": gte,  # how Alibaba-NLP published gte-v1.5 and gte-multilingual
}

__all__ = ["FAMILIES", "Encoder"]
