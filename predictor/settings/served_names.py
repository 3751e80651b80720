"""vLLM's `--served-model-name a b`: the name of the model and its aliases in one flag."""

from collections.abc import Mapping

# The name under which the parser of the command line keeps the names.
SERVED_NAMES = "served_model_name"


def with_served_names(flags: Mapping[str, str | list[str]]) -> Mapping[str, str | list[str]]:
    """The flags with the names as `--model_name` and `--model-alias`.

    A `--model_name` stays the name, because KServe's runtimes always set it; then all names are
    aliases.
    """
    if SERVED_NAMES not in flags:
        return flags
    names = [name for name in flags[SERVED_NAMES] if name]
    named = {key: value for key, value in flags.items() if key != SERVED_NAMES}
    if not names:
        return named
    model = named.setdefault("model_name", names[0])
    aliases = [*named.get("model_alias", []), *(name for name in names if name != model)]
    return named | {"model_alias": aliases}
