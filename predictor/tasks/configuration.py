"""What the operator set beside the model's files that changes what vectors a request gets.

The revision names the files of a version and stays as it is; the configuration has an id of its
own. Two servers give the same vectors to the same requests where both are the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from predictor.bundle.manifest import Bundle
from predictor.errors import BadSetting
from predictor.settings import RequestSettings


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """Prompts and normalisation as they hold for one model version."""

    # Text to put before an input, by the prompt's name.
    prompts: Mapping[str, str]
    # The text before inputs whose request names no prompt.
    default_prompt: str
    # Whether vectors are scaled to length 1 unless a request says otherwise.
    normalize: bool

    @property
    def id(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the content; the same on each node."""
        content = msgspec.json.encode(msgspec.to_builtins(self), order="sorted")
        return hashlib.sha256(content).hexdigest()[:12]

    def described(self) -> dict[str, Any]:
        """The content and its id, as the descriptions of a model list it."""
        return {"id": self.id, **msgspec.to_builtins(self)}


def configuration_of(bundle: Bundle, settings: RequestSettings) -> Configuration:
    """The configuration of a version.

    Raises:
        BadSetting: a prompt is malformed, or the default one does not exist or is set twice.
    """
    prompts = bundle.prompts | read_prompts(settings.prompt)
    return Configuration(
        prompts=prompts,
        default_prompt=_default_prompt(bundle, prompts, settings),
        normalize=bundle.normalize
        if settings.normalize == "model"
        else settings.normalize == "unit",
    )


def read_prompts(texts: Sequence[str]) -> dict[str, str]:
    """Prompts by name, each out of `NAME=TEXT`. Raises BadSetting."""
    prompts: dict[str, str] = {}
    for text in texts:
        name, separator, prompt = text.partition("=")
        if not name or not separator:
            raise BadSetting(f"--prompt {text[:80]!r} is not NAME=TEXT")
        if name in prompts:
            raise BadSetting(f"--prompt: {name[:80]!r} is set twice")
        prompts[name] = prompt
    return prompts


def _default_prompt(bundle: Bundle, prompts: Mapping[str, str], settings: RequestSettings) -> str:
    flags = {
        "--default-prompt": settings.default_prompt,
        "--default-prompt-name": settings.default_prompt_name,
        "--no-default-prompt": settings.no_default_prompt,
    }
    flags_set = [flag for flag, value in flags.items() if value]
    if len(flags_set) > 1:
        raise BadSetting(f"{' and '.join(flags_set)}: only one of them may be set")
    if settings.no_default_prompt or settings.default_prompt:
        return settings.default_prompt
    name = settings.default_prompt_name or bundle.default_prompt_name
    if not name:
        return ""
    if name not in prompts:
        raise BadSetting(
            f"--default-prompt-name {name}: the model has prompts "
            f"{', '.join(sorted(prompts)) or 'none'}"
        )
    return prompts[name]
