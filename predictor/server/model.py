"""The KServe model: preprocess, predict, postprocess. Every protocol goes through these three."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import Struct

from predictor import scheduling
from predictor.batcher import Batcher
from predictor.cache import RedisTier, RowCache, TokenMemo, VersionCache
from predictor.engine.pooling import finish
from predictor.engine.quantize import Quantized, quantize
from predictor.errors import BadSetting, BatchTooLarge, EmptyInput, InvalidInput, NotReady
from predictor.metrics import ModelMetrics
from predictor.repository import LoadedModel
from predictor.server.kserve_sdk import InferenceVerb, Model
from predictor.settings import Settings
from predictor.timeline import CURRENT
from predictor.tracing import Tracer
from predictor.types import EmbedRequest, EmbedResult, FloatRows, Lane, OutputType, Tokens

# Shown a request, its tokens and its un-normalised rows `[N, dim]`, once they are computed.
Observer = Callable[[EmbedRequest, Tokens, FloatRows], None]

# Characters that are tokenised on the event loop: about 0.5 ms at most.
INLINE_CHARACTERS = 2048
# Cohere's input types, and the prompt names that models use for the same thing.
PROMPT_NAMES = {
    "search_query": ("search_query", "query", "s2p_query"),
    "search_document": ("search_document", "document", "passage", "corpus"),
    "classification": ("classification", "Classification"),
    "clustering": ("clustering", "Clustering"),
}


class Prepared(Struct):
    """A request after preprocess; with `rows` (un-normalised vectors) after predict."""

    request: EmbedRequest
    tokens: Tokens
    deadline: float
    rows: FloatRows | None = None


class EmbeddingModel(Model):  # type: ignore[misc]  # KServe's classes are untyped
    """One model version behind KServe's interface, used on one event loop."""

    def __init__(
        self,
        loaded: LoadedModel,
        settings: Settings,
        *,
        on_fatal: Callable[[str], None],
        memory: RowCache | None = None,
        redis: RedisTier | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            on_fatal: called on the loop, once, when the engine cannot be brought back.
            memory, redis: where rows are kept, if anywhere.
            tracer: told of every batch, if any.

        Raises:
            BadSetting: the default prompt is not one of the model's.
        """
        super().__init__(loaded.name)
        self.loaded = loaded
        self.version, self.revision = loaded.version, loaded.bundle.revision
        self._settings, self._on_fatal = settings, on_fatal
        self._memory, self._redis, self._tracer = memory, redis, tracer
        self._limits = settings.request
        self._default_prompt = self._find_default_prompt()
        self.metrics = ModelMetrics(loaded.name, loaded.version)
        # They stand in every request's way: they neither wait nor raise.
        self.observers: tuple[Observer, ...] = ()
        self._in_flight = 0
        self._finished: asyncio.Event | None = None
        self._tokenizing = ThreadPoolExecutor(
            settings.model.tokenization_workers or loaded.engine.threads, "tokenize"
        )
        self._memo = TokenMemo(loaded.tokenizer.ids, settings.cache) if memory else None
        self._batcher: Batcher | None = None
        self._cache: VersionCache | None = None
        # KServe registers only models that are ready before its server starts.
        self.ready = True

    def _find_default_prompt(self) -> str:
        bundle, limits = self.loaded.bundle, self._limits
        if limits.default_prompt and limits.default_prompt_name:
            raise BadSetting("--default-prompt and --default-prompt-name: give one of them")
        if limits.default_prompt:
            return limits.default_prompt
        name = limits.default_prompt_name or bundle.default_prompt_name
        if not name:
            return ""
        if name not in bundle.prompts:
            raise BadSetting(
                f"--default-prompt-name {name}: the model has prompts "
                f"{', '.join(sorted(bundle.prompts)) or 'none'}"
            )
        return bundle.prompts[name]

    def start_answering(self) -> None:
        """Start the engine's threads on the running loop."""
        loaded = self.loaded
        self._batcher = Batcher(
            loaded.engine.run,
            self._settings.batching,
            self.metrics,
            threads=loaded.engine.threads,
            on_fatal=self._on_fatal,
            tracer=self._tracer,
        )
        self._batcher.start()
        if self._memory is not None or self._redis is not None:
            self._cache = VersionCache(
                self._batcher.embed,
                digest=loaded.bundle.digest,
                variant=loaded.variant,
                dimensions=loaded.bundle.dimensions,
                memory=self._memory,
                redis=self._redis,
                metrics=self.metrics,
            )

    async def stop_answering(self, wait_s: float = 0.0) -> None:
        """Let the requests that are here finish, then end the threads and let go of the engine."""
        if self._in_flight:
            self._finished = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._finished.wait()
        batcher, self._batcher = self._batcher, None
        if batcher is not None:
            await batcher.stop()
        self._cache = None
        self._tokenizing.shutdown(wait=False)
        self.metrics.remove()

    async def healthy(self) -> bool:
        """Whether requests would be answered now (KServe's readiness)."""
        return self.is_healthy

    @property
    def is_healthy(self) -> bool:
        return self._batcher is not None and self._batcher.healthy

    @property
    def max_inputs(self) -> int:
        return self._limits.max_client_batch_size

    def load(self) -> bool:
        """KServe calls this for an unhealthy model on every request: there is nothing to do."""
        return self.is_healthy

    async def __call__(
        self,
        body: Any,
        headers: dict[str, str] | None = None,
        verb: InferenceVerb = InferenceVerb.PREDICT,
    ) -> tuple[EmbedResult, dict[str, str]]:
        """Take the three steps for a decoded request; our metrics replace KServe's timing."""
        if verb is not InferenceVerb.PREDICT or not isinstance(body, EmbedRequest):
            raise NotImplementedError("this model embeds texts; it does not explain")
        self._in_flight += 1
        try:
            prepared = await self.preprocess(body, headers)
            prepared = await self.predict(prepared, headers)
            result = self.postprocess(prepared, headers)
            for observe in self.observers:
                assert prepared.rows is not None
                observe(body, prepared.tokens, prepared.rows)
            return result, {}
        finally:
            self._in_flight -= 1
            if self._finished is not None and not self._in_flight:
                self._finished.set()

    async def preprocess(
        self, payload: EmbedRequest, headers: dict[str, str] | None = None
    ) -> Prepared:
        """Validate, put the prompt before, tokenise, truncate.

        Raises:
            InvalidInput: (or a subclass) the request asks for what the model cannot do.
            RateLimited: the caller has no tokens left.
        """
        del headers
        request = payload
        loop = asyncio.get_running_loop()
        timeout = request.timeout_s
        if timeout is None:
            timeout = self._limits.request_timeout_ms / 1e3
        deadline = loop.time() + timeout
        self._validate(request)
        started = time.perf_counter()
        if self._is_short(request.inputs):
            tokens = self._tokenize(request)
        else:
            tokens = await loop.run_in_executor(self._tokenizing, self._tokenize, request)
        if (timeline := CURRENT.get()) is not None:
            timeline.tokenize = time.perf_counter() - started
        if tokens.truncated:
            self.metrics.truncated.inc(len(tokens.truncated))
        if request.spend is not None:
            request.spend(tokens.total)
        return Prepared(request, tokens, deadline)

    async def predict(self, payload: Prepared, headers: dict[str, str] | None = None) -> Prepared:
        """Rows from the cache, or through the batcher.

        Raises:
            Overloaded, NotReady, DeadlineExceeded, EngineError: they were not computed.
        """
        del headers
        if self._batcher is None:
            raise NotReady("the model is not started")
        total = payload.tokens.total
        lane = scheduling.lane_of(payload.request.lane, total, self._settings.batching.query_tokens)
        ids, deadline = payload.tokens.ids, payload.deadline
        if self._cache is not None:
            payload.rows = await self._through_cache(payload, lane)
        else:
            payload.rows = await self._batcher.embed(ids, lane, deadline)
        return payload

    async def _through_cache(self, payload: Prepared, lane: Lane) -> FloatRows:
        """Rows from the cache where it has them; its own time is what is neither queue nor run."""
        assert self._cache is not None
        started = time.perf_counter()
        rows = await self._cache.embed(
            payload.tokens.ids, lane, payload.deadline, use_cache=payload.request.cache
        )
        if (timeline := CURRENT.get()) is not None:
            spent = time.perf_counter() - started
            timeline.cache = max(0.0, spent - timeline.queue - timeline.run)
        return rows

    def postprocess(self, result: Prepared, headers: dict[str, str] | None = None) -> EmbedResult:
        """Cut dimensions, normalise, quantise (pooling is the engine's)."""
        del headers
        request, rows = result.request, result.rows
        assert rows is not None
        normalize = self.loaded.bundle.normalize if request.normalize is None else request.normalize
        vectors = finish(rows, request.dimensions, normalize)
        quantized: dict[OutputType, Quantized] = {
            kind: quantize(vectors, kind)
            for kind in request.output_types
            if kind is not OutputType.FLOAT
        }
        return EmbedResult(
            vectors=vectors,
            tokens=result.tokens.total,
            truncated=result.tokens.truncated,
            model=self.name,
            version=self.version,
            revision=self.revision,
            request_id=request.request_id,
            quantized=quantized,
        )

    def _validate(self, request: EmbedRequest) -> None:
        count, limit = len(request.inputs), self._limits.max_client_batch_size
        if not count:
            raise EmptyInput("no inputs; at least one text is needed")
        if count > limit:
            raise BatchTooLarge(f"{count} inputs; the limit is {limit} a request")
        self._check_dimensions(request.dimensions)
        if self._limits.token_ids == "refuse" and not isinstance(request.inputs[0], str):
            raise InvalidInput(
                "token ids are refused here (--token-ids refuse): they must be of this model's own "
                "tokenizer; send texts (langchain: check_embedding_ctx_length=False)"
            )

    def _check_dimensions(self, asked: int | None) -> None:
        bundle = self.loaded.bundle
        if asked is None or asked == bundle.dimensions:
            return
        if not 1 <= asked <= bundle.dimensions:
            raise InvalidInput(f"dimensions is {asked}; this model gives 1 to {bundle.dimensions}")
        if bundle.matryoshka and asked not in bundle.matryoshka:
            listed = ", ".join(map(str, bundle.matryoshka))
            raise InvalidInput(
                f"dimensions is {asked}; this model was trained to be cut to {listed}"
            )

    @staticmethod
    def _is_short(inputs: list[str] | list[list[int]]) -> bool:
        if len(inputs) == 1:
            return len(inputs[0]) <= INLINE_CHARACTERS
        return len(inputs) <= 16 and sum(map(len, inputs)) <= INLINE_CHARACTERS

    def _tokenize(self, request: EmbedRequest) -> Tokens:
        truncate = self._limits.auto_truncate if request.truncate is None else request.truncate
        tokenizer, inputs = self.loaded.tokenizer, request.inputs
        if not isinstance(inputs[0], str):
            return tokenizer.wrap(
                inputs,
                truncate=truncate,
                direction=request.truncation_direction,
            )
        prompt = self.prompt_for(request.prompt_name, request.input_type)
        texts: list[str] = inputs
        if prompt:
            texts = [prompt + text for text in texts]
        rows = tokenizer.ids(texts) if self._memo is None else self._memo.ids(texts)
        return tokenizer.limit(rows, truncate=truncate, direction=request.truncation_direction)

    def has_default_prompt(self, request: EmbedRequest) -> bool:
        """Whether its texts get what those of a request that names no prompt get."""
        return self.prompt_for(request.prompt_name, request.input_type) == self._default_prompt

    def prompt_for(self, name: str | None, input_type: str | None = None) -> str:
        """The text put before each input.

        Raises:
            InvalidInput: the model has no prompt of that name.
        """
        prompts = self.loaded.bundle.prompts
        if name is not None:
            if name not in prompts:
                raise InvalidInput(
                    f"prompt_name {name[:80]!r} is unknown; this model has "
                    f"{', '.join(sorted(prompts)) or 'no prompts'}"
                )
            return prompts[name]
        for candidate in PROMPT_NAMES.get(input_type or "", ()):
            if candidate in prompts:
                return prompts[candidate]
        return self._default_prompt
