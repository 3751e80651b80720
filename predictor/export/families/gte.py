"""GTE v1.5 and gte-multilingual (Alibaba's `NewModel`), as published and as transformers has it."""

import numpy as np

from predictor.errors import BadModel
from predictor.export.config import ModelConfig
from predictor.export.families.encoder import Encoder
from predictor.export.families.rotary import (
    RotaryNames,
    RotaryStack,
    only_plain_rope,
    rotary_encoder,
)
from predictor.export.layers import inverse_frequencies, rotation_tables
from predictor.export.weights import FloatArray

GTE = RotaryNames(
    layer=("encoder.layer.{}.", "layers.{}."),
    embedding_norm=("embeddings.LayerNorm",),
    joint="attention.qkv_proj",
    context=("attention.o_proj", "self_attn.o_proj"),
    context_norm=("attn_ln", "post_attention_layernorm"),
    up=("mlp.up_proj",),
    gate=("mlp.gate_proj",),
    down=("mlp.down_proj", "mlp.down_proj"),
    output_norm=("mlp_ln", "post_mlp_layernorm"),
    up_and_gate="mlp.up_gate_proj",
)


def gte(config: ModelConfig) -> Encoder:
    """gte-v1.5 and gte-multilingual, with their fixed NTK scaling."""
    hidden = config.integer("hidden_size")
    heads = config.heads(hidden, "num_attention_heads")
    longest = config.integer("max_position_embeddings")
    stack = RotaryStack(
        names=GTE,
        hidden=hidden,
        heads=heads,
        intermediate=config.integer("intermediate_size"),
        layers=config.integer("num_hidden_layers"),
        vocabulary=config.integer("vocab_size"),
        types=config.integer("type_vocab_size", default=0),
        epsilon=config.number("layer_norm_eps", default=1e-12),
        activation=config.text("hidden_act", default="gelu"),
        tables=rotation_tables(_gte_frequencies(config, hidden // heads), longest),
    )
    return rotary_encoder(stack, longest)


def _gte_frequencies(config: ModelConfig, head_size: int) -> FloatArray:
    """Fixed NTK scaling as vLLM has it for this family (`ntk_scaling_rope.py`):
    base times factor, frequencies by factor ** (2 / head_size).
    """
    new = config.mapping("rope_parameters")
    theta = float(new.get("rope_theta") or config.number("rope_theta", default=160000.0))
    scaling = config.mapping("rope_scaling")
    if not scaling:
        only_plain_rope(config)
        return inverse_frequencies(theta, head_size)
    kind = scaling.get("type", scaling.get("rope_type"))
    if kind != "ntk" or scaling.get("mixed_b") is not None:
        raise BadModel(f"config.json: rope_scaling {scaling!r} is not supported, only type 'ntk'")
    factor = float(scaling["factor"])
    scaled = inverse_frequencies(theta * factor, head_size) / factor ** (2 / head_size)
    return np.asarray(scaled, dtype=np.float32)
