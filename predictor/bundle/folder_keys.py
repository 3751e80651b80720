"""The keys of a model folder's configuration files: read, not supported, or without effect.

A key whose value changes the vectors in a way that is not supported is refused by name and value.
Of the others, those that nobody here knows are named in the log once, when the model is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from predictor.errors import BadModel

CONFIG = "config.json"
LIBRARY = "config_sentence_transformers.json"
LIMITS = "sentence_bert_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SHOWN_CHARACTERS = 200

Values = tuple[Any, ...]


@dataclass(frozen=True)
class FileKeys:
    """What is known of the keys of one file."""

    read: frozenset[str]
    """Their values are used."""

    only: Mapping[str, Values] = field(default_factory=dict)
    """The values that change nothing; any other one is refused."""

    options: frozenset[str] = frozenset()
    """Objects of options for a library; only options in `WITHOUT_EFFECT` pass."""

    without_effect: frozenset[str] = frozenset()
    """They do not change the vectors."""

    flags: frozenset[str] = frozenset()
    """Those that are read and have to be true or false."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Options of a library that say how to compute and not what.
WITHOUT_EFFECT = _names(
    "trust_remote_code torch_dtype dtype attn_implementation device_map low_cpu_mem_usage "
    "use_safetensors local_files_only revision cache_dir token unpad_inputs "
    "use_memory_efficient_attention add_pooling_layer backend"
)

KEYS: dict[str, FileKeys] = {
    CONFIG: FileKeys(
        read=_names(
            "architectures model_type pad_token_id num_labels id2label matryoshka_dimensions "
            "vocab_size hidden_size dim n_embd intermediate_size hidden_dim n_inner "
            "num_hidden_layers n_layers n_layer num_attention_heads n_heads n_head "
            "max_position_embeddings max_trained_positions n_positions type_vocab_size "
            "layer_norm_eps layer_norm_epsilon norm_eps hidden_act activation hidden_activation "
            "rope_parameters rope_scaling rope_theta rotary_emb_base global_rope_theta "
            "local_rope_theta local_attention layer_types global_attn_every_n_layers "
            "relative_attention_num_buckets rotary_scaling_factor"
        ),
        without_effect=_names(
            "_name_or_path _attn_implementation_autoset attention_dropout attn_pdrop "
            "attention_probs_dropout_prob bad_words_ids begin_suppress_tokens bos_token_id "
            "chunk_size_feed_forward classifier_activation classifier_bias classifier_dropout "
            "classifier_pooling cls_token_id decoder_bias decoder_start_token_id "
            "dense_seq_output deterministic_flash_attn directionality diversity_penalty "
            "do_sample dropout dtype early_stopping embd_pdrop embedding_dropout "
            "encoder_no_repeat_ngram_size eos_token_id exponential_decay_length_penalty "
            "finetuning_task forced_bos_token_id forced_eos_token_id fused_bias_fc "
            "fused_dropout_add_ln gradient_checkpointing head_dim hidden_dropout_prob "
            "initializer_cutoff_factor initializer_range label2id "
            "length_penalty mask_token_id max_length min_length mlp_bias mlp_dropout mlp_fc1_bias "
            "mlp_fc2_bias name_or_path no_repeat_ngram_size norm_bias num_beam_groups num_beams "
            "num_return_sequences output_attentions output_hidden_states output_past "
            "output_scores pack_qkv pad_vocab_size_multiple parallel_block_tied_norm "
            "pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers "
            "pooler_size_per_head pooler_type prefix problem_type qa_dropout "
            "qkv_proj_bias remove_invalid_values reorder_and_upcast_attn "
            "repetition_penalty reference_compile repad_logits_with_grad resid_pdrop "
            "return_dict return_dict_in_generate sentence_transformers sep_token_id "
            "seq_classif_dropout similarity_fn_name sinusoidal_pos_embds "
            "sparse_pred_ignore_index sparse_prediction summary_activation "
            "summary_first_dropout summary_proj_to_labels summary_type summary_use_proj "
            "suppress_tokens task_specific_params temperature tf_legacy_loss "
            "tie_encoder_decoder tie_word_embeddings tokenizer_class top_k top_p "
            "torch_dtype torchscript transformers_version typical_p unpad_inputs use_bfloat16 "
            "use_cache use_flash_attn use_memory_efficient_attention use_xentropy xla_device "
            "attention_bias gradient_checkpointing_kwargs logn_attention_clip1"
        ),
    ),
    LIMITS: FileKeys(
        read=_names("max_seq_length do_lower_case transformer_task"),
        flags=_names("do_lower_case"),
        options=_names(
            "model_args model_kwargs config_args config_kwargs tokenizer_args tokenizer_kwargs "
            "processor_kwargs processing_kwargs"
        ),
        without_effect=_names("modality_config backend unpad_inputs message_format"),
        only={"module_output_name": ("token_embeddings",)},
    ),
    LIBRARY: FileKeys(
        read=_names("prompts default_prompt_name model_type"),
        without_effect=_names("__version__ similarity_fn_name similarity_fct"),
        only={"truncate_dim": ()},
    ),
    TOKENIZER_CONFIG: FileKeys(
        read=_names(
            "model_max_length tokenizer_class do_lower_case strip_accents "
            "tokenize_chinese_chars unk_token sep_token pad_token cls_token mask_token bos_token "
            "eos_token add_prefix_space"
        ),
        without_effect=_names(
            "backend is_local local_files_only model_input_names name_or_path tokenizer_file "
            "special_tokens_map_file added_tokens_decoder additional_special_tokens "
            "extra_special_tokens clean_up_tokenization_spaces do_basic_tokenize never_split "
            "padding_side max_length pad_to_multiple_of pad_token_type_id stride "
            "truncation_strategy use_fast errors trim_offsets sp_model_kwargs "
            "processor_class chat_template split_special_tokens add_bos_token add_eos_token "
            "legacy __version__ init_inputs"
        ),
        flags=_names("do_lower_case strip_accents tokenize_chinese_chars add_prefix_space"),
        only={"truncation_side": ("right",)},
    ),
}

POOLING = "Pooling"
DENSE = "Dense"
# Of the config.json of modules, by the module's kind.
MODULE_KEYS: dict[str, FileKeys] = {
    POOLING: FileKeys(
        read=_names(
            "pooling_mode pooling_mode_cls_token pooling_mode_mean_tokens pooling_mode_max_tokens "
            "pooling_mode_mean_sqrt_len_tokens pooling_mode_weightedmean_tokens "
            "pooling_mode_lasttoken"
        ),
        without_effect=_names("word_embedding_dimension embedding_dimension"),
        only={"include_prompt": (True,)},
    ),
    DENSE: FileKeys(
        read=_names("activation_function"),
        without_effect=_names("in_features out_features bias"),
        only={
            "module_input_name": ("sentence_embedding",),
            "module_output_name": ("sentence_embedding",),
            "use_residual": (False,),
        },
    ),
}

# Keys of config.json that a graph which is built from the weights does not follow, by family; a
# graph that was made elsewhere does.
_OF_WEIGHTS: dict[str, Values] = {"quantization_config": (), "pruned_heads": ({},)}
_OF_BERT: dict[str, Values] = {
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "is_encoder_decoder": (False,),
}
_OF_NOMIC: dict[str, Values] = {
    "position_embedding_type": ("absolute", "rope"),
    "prenorm": (False,),
    "use_rms_norm": (False,),
    "rotary_emb_interleaved": (False,),
    "parallel_block": (False,),
    "rotary_emb_fraction": (1.0,),
    "rotary_emb_scale_base": (),
    "activation_function": ("swiglu",),
    "moe_every_n_layers": (0, -1),
    "causal": (False,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
}
_OF_GTE: dict[str, Values] = {
    "position_embedding_type": ("rope",),
    "layer_norm_type": ("layer_norm",),
    "logn_attention_scale": (False,),
}
BUILT_ONLY: dict[str, dict[str, Values]] = {
    "bert": _OF_BERT,
    "roberta": _OF_BERT,
    "xlm-roberta": _OF_BERT,
    "camembert": _OF_BERT,
    "mpnet": _OF_BERT,
    "distilbert": _OF_BERT,
    "modernbert": {"position_embedding_type": ("absolute",), "is_decoder": (False,)},
    "nomic_bert": _OF_NOMIC | {"is_decoder": (False,)},
    "gte": _OF_GTE | {"is_decoder": (False,)},
    "new": _OF_GTE | {"is_decoder": (False,)},
}
# Families that were published with code of their own, which the builders are made after.
CODE_IS_BUILT = frozenset({"nomic_bert", "gte", "new"})
HINTS = {
    "truncate_dim": "; requests can ask for fewer `dimensions`",
    "truncation_side": "; requests can ask for the side with `truncation_direction`",
    "quantization_config": "; save the model as float32, float16 or bfloat16",
}


def check_keys(file: str, shown: str, values: Mapping[str, Any]) -> None:
    """Refuse what changes the vectors of any graph and is not supported.

    Args:
        file: whose keys these are, as in `KEYS` and `MODULE_KEYS`.
        shown: the file as errors name it.

    Raises:
        BadModel: it names the key and its value.
    """
    keys = (KEYS | MODULE_KEYS)[file]
    problem = _not_only(values, keys.only)
    for name in sorted(keys.flags & set(values)):
        if not isinstance(values[name], bool):
            problem = (
                problem or f"{name} {_value(values[name])} is not supported, only true or false"
            )
    for name in sorted(keys.options):
        options = values.get(name, {})
        if not isinstance(options, dict) or set(options) - WITHOUT_EFFECT:
            problem = problem or f"{name} {_value(options)} is not supported"
    if problem is not None:
        raise BadModel(f"{shown}: {problem}")


def not_built(family: str, config: Mapping[str, Any]) -> str | None:
    """Why a graph that is built from the weights would give other vectors; None: it does not."""
    return not_exported(family, config) or _not_only(config, BUILT_ONLY.get(family, {}))


def not_exported(family: str, config: Mapping[str, Any]) -> str | None:
    """Why no graph can be made from the weights, by torch neither; None: one can be."""
    code = config.get("auto_map")
    if code and family not in CODE_IS_BUILT:
        return f"auto_map {_value(code)} names code of the model's own, which is never run"
    return _not_only(config, _OF_WEIGHTS)


def unknown_keys(file: str, values: Mapping[str, Any], family: str = "") -> list[str]:
    """Keys that nobody here reads or knows."""
    keys = (KEYS | MODULE_KEYS)[file]
    known = {*keys.read, *keys.only, *keys.options, *keys.without_effect}
    if file == CONFIG:
        known |= {"auto_map", *BUILT_ONLY.get(family, {}), *_OF_BERT, *_OF_WEIGHTS}
    return sorted(set(values) - known)


def _not_only(values: Mapping[str, Any], only: Mapping[str, Values]) -> str | None:
    for key, allowed in only.items():
        if key in values and values[key] is not None and values[key] not in allowed:
            supported = " or ".join(map(repr, allowed))
            instead = f", only {supported}" if supported else ""
            return f"{key} {_value(values[key])} is not supported{instead}{HINTS.get(key, '')}"
    return None


def _value(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
