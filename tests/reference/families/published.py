"""Configurations as models are published with them, made from those of transformers, and back.

The keys are those of answerdotai/ModernBERT-base, nomic-ai/nomic-embed-text-v1.5 and
Alibaba-NLP/gte-base-en-v1.5.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Config = dict[str, Any]

# GTE's: the published base for rotary frequencies, and by how much it is scaled.
GTE_THETA = 500000
GTE_FACTOR = 2.0


def modernbert(config: Config) -> Config:
    """Layer types and rotary bases as numbers of their own; all of it readable by transformers."""
    kept = {
        key: value
        for key, value in config.items()
        if key not in {"layer_types", "rope_parameters", "dtype", "transformers_version"}
    }
    return kept | {
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "gradient_checkpointing": False,
        "layer_norm_eps": config["norm_eps"],
        "local_rope_theta": 10000.0,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "transformers_version": "4.47.0.dev0",
    }


def nomic(config: Config) -> Config:
    """GPT-2's keys, with which NomicBERT is published."""
    return {
        "activation_function": "swiglu",
        "architectures": ["NomicBertModel"],
        "attn_pdrop": 0.0,
        "auto_map": {
            "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
            "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
        },
        "bos_token_id": None,
        "causal": False,
        "dense_seq_output": True,
        "embd_pdrop": 0.0,
        "eos_token_id": None,
        "fused_bias_fc": True,
        "fused_dropout_add_ln": True,
        "initializer_range": 0.02,
        "layer_norm_epsilon": config["layer_norm_eps"],
        "max_trained_positions": 2048,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "model_type": "nomic_bert",
        "n_embd": config["hidden_size"],
        "n_head": config["num_attention_heads"],
        "n_inner": config["intermediate_size"],
        "n_layer": config["num_hidden_layers"],
        "n_positions": config["max_position_embeddings"],
        "pad_vocab_size_multiple": 64,
        "parallel_block": False,
        "parallel_block_tied_norm": False,
        "prenorm": False,
        "qkv_proj_bias": False,
        "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.0,
        "rotary_emb_base": int(config["rope_parameters"]["rope_theta"]),
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "summary_activation": None,
        "summary_first_dropout": 0.0,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "torch_dtype": "float32",
        "transformers_version": "4.37.2",
        "type_vocab_size": config["type_vocab_size"],
        "use_cache": True,
        "use_flash_attn": True,
        "use_rms_norm": False,
        "use_xentropy": True,
        "vocab_size": config["vocab_size"],
    }


_GTE_KEPT = (
    "attention_probs_dropout_prob",
    "hidden_act",
    "hidden_dropout_prob",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "pad_token_id",
    "type_vocab_size",
    "vocab_size",
)


def gte(config: Config) -> Config:
    """Alibaba's "new": no token types, and rotary frequencies for longer texts than trained on."""
    implementation = "Alibaba-NLP/new-impl--"
    return {
        "architectures": ["NewModel"],
        "auto_map": {
            "AutoConfig": f"{implementation}configuration.NewConfig",
            "AutoModel": f"{implementation}modeling.NewModel",
        },
        **{key: config[key] for key in _GTE_KEPT},
        "layer_norm_type": "layer_norm",
        "model_type": "new",
        "pack_qkv": True,
        "position_embedding_type": "rope",
        "rope_scaling": {"factor": GTE_FACTOR, "type": "ntk"},
        "rope_theta": GTE_THETA,
        "torch_dtype": "float32",
        "transformers_version": "4.39.1",
        "unpad_inputs": False,
        "use_memory_efficient_attention": False,
    }


def as_transformers_says(config: Config) -> Config:
    """A configuration in transformers' words, where it does not know the published ones."""
    if config["model_type"] == "new":
        return _gte_back(config)
    if "n_embd" in config:
        return _nomic_back(config)
    return config


def _gte_back(config: Config) -> Config:
    rope = {"rope_type": "default", "rope_theta": float(config["rope_theta"])}
    return {
        "architectures": ["GteModel"],
        "model_type": "gte",
        **{key: config[key] for key in _GTE_KEPT},
        "rope_parameters": rope,
    }


def _nomic_back(config: Config) -> Config:
    return {
        "architectures": ["NomicBertModel"],
        "model_type": "nomic_bert",
        "hidden_act": "silu",
        "hidden_size": config["n_embd"],
        "num_hidden_layers": config["n_layer"],
        "num_attention_heads": config["n_head"],
        "intermediate_size": config["n_inner"],
        "max_position_embeddings": config["n_positions"],
        "layer_norm_eps": config["layer_norm_epsilon"],
        "type_vocab_size": config["type_vocab_size"],
        "vocab_size": config["vocab_size"],
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": float(config["rotary_emb_base"]),
        },
    }


def scaled_frequencies(config: Config) -> NDArray[np.float32] | None:
    """The rotary frequencies of "ntk" scaling, if a published configuration asks for it."""
    scaling = config.get("rope_scaling")
    if config["model_type"] != "new" or not scaling:
        return None
    size = config["hidden_size"] // config["num_attention_heads"]
    base = config["rope_theta"] * scaling["factor"]
    frequencies = 1.0 / base ** (np.arange(0, size, 2) / size)
    scaled: NDArray[np.float32] = (frequencies / scaling["factor"] ** (2 / size)).astype(np.float32)
    return scaled
