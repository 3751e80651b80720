"""nomic-bert: nomic-embed-text, as published and as transformers saves it."""

from predictor.export.config import ModelConfig
from predictor.export.families.encoder import Encoder
from predictor.export.families.rotary import (
    RotaryNames,
    RotaryStack,
    only_plain_rope,
    rotary_encoder,
)
from predictor.export.layers import inverse_frequencies, rotation_tables

NOMIC = RotaryNames(
    layer=("encoder.layers.{}.", "layers.{}."),
    embedding_norm=("emb_ln", "embeddings.LayerNorm"),
    joint="attn.Wqkv",
    context=("attn.out_proj", "self_attn.o_proj"),
    context_norm=("norm1", "post_attention_layernorm"),
    up=("mlp.fc11", "mlp.up_proj"),
    gate=("mlp.fc12", "mlp.gate_proj"),
    down=("mlp.fc2", "mlp.down_proj"),
    output_norm=("norm2", "post_mlp_layernorm"),
)


def nomic(config: ModelConfig) -> Encoder:
    """nomic-embed-text.

    Texts longer than those it was trained on would need dynamic scaling, which is not supported:
    the length is limited instead.
    """
    only_plain_rope(config)
    hidden = config.integer("hidden_size", "n_embd")
    heads = config.heads(hidden, "num_attention_heads", "n_head")
    longest = config.integer("max_trained_positions", "max_position_embeddings", "n_positions")
    theta = config.mapping("rope_parameters").get("rope_theta")
    base = float(theta) if theta else config.number("rotary_emb_base", default=1000.0)
    stack = RotaryStack(
        names=NOMIC,
        hidden=hidden,
        heads=heads,
        intermediate=config.integer("intermediate_size", "n_inner"),
        layers=config.integer("num_hidden_layers", "n_layer"),
        vocabulary=config.integer("vocab_size"),
        types=config.integer("type_vocab_size", default=0),
        epsilon=config.number("layer_norm_eps", "layer_norm_epsilon", default=1e-12),
        activation=config.text("hidden_act", default="silu"),
        tables=rotation_tables(inverse_frequencies(base, hidden // heads), longest),
    )
    return rotary_encoder(stack, longest)
