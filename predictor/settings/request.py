"""What one request may ask for, and what it gets where it says nothing."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from predictor.settings.fields import alias


class RequestSettings(Struct, frozen=True, kw_only=True):
    """Requests: what one request may ask for."""

    max_body_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            description="Bytes of the largest request body; a larger one is answered with 413. "
            "The default, 8 MiB, is KServe's for gRPC.",
            extra=alias("PAYLOAD_LIMIT"),
        ),
    ] = 8 << 20
    max_client_batch_size: Annotated[
        int,
        Meta(
            ge=1,
            description="Inputs that one request may have; a request with more is refused. The "
            "default is OpenAI's limit.",
            extra=alias("MAX_CLIENT_BATCH_SIZE"),
        ),
    ] = 2048
    max_text_characters: Annotated[
        int,
        Meta(
            ge=0,
            description="Characters of the longest text, and ids of the longest list of token "
            "ids, that a request may have; they are counted before the text is tokenised, and a "
            "longer one is refused. 0: 250 for each token that the model takes.",
        ),
    ] = 0
    auto_truncate: Annotated[
        bool,
        Meta(
            description="Truncate texts that are longer than the model takes, and report them in "
            "the answer. false: refuse them. A request may override this.",
            extra=alias("AUTO_TRUNCATE"),
        ),
    ] = True
    normalize: Annotated[
        Literal["unit", "model", "raw"],
        Meta(
            description="Length of the vectors of requests that do not say it, on every protocol. "
            "unit: 1. model: as the modules of the model say. raw: as the model gives them.",
        ),
    ] = "unit"
    prompt: Annotated[
        tuple[str, ...],
        Meta(
            description="Prompt of every model that is served, NAME=TEXT, beside those of the "
            "model or instead of its prompt of that name.",
        ),
    ] = ()
    no_default_prompt: Annotated[
        bool,
        Meta(
            description="Put no prompt before the texts of requests that name none, even if the "
            "model has a default prompt.",
        ),
    ] = False
    default_prompt_name: Annotated[
        str,
        Meta(
            description="Name of the model's prompt that is put before the texts of requests that "
            "name none. Empty: the model's own default.",
            extra=alias("DEFAULT_PROMPT_NAME"),
        ),
    ] = ""
    default_prompt: Annotated[
        str,
        Meta(
            description="Prompt, as a text, that is put before the texts of requests that name "
            "none. It cannot be set together with --default-prompt-name.",
            extra=alias("DEFAULT_PROMPT"),
        ),
    ] = ""
    token_ids: Annotated[
        Literal["accept", "refuse"],
        Meta(
            description="What to do with requests that send token ids instead of texts. LangChain "
            "sends ids of another tokenizer by default, which give wrong vectors.",
        ),
    ] = "accept"
    request_timeout_ms: Annotated[
        int,
        Meta(
            ge=1,
            description="Milliseconds until a request is answered with 504. A client may set an "
            "earlier deadline, but no later one.",
        ),
    ] = 60_000
