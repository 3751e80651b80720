"""The KServe model: every task of every protocol is preprocess, predict, postprocess."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec import Struct

from predictor.access import Principal
from predictor.batcher import Batcher
from predictor.batcher.scheduling import lane_of
from predictor.cache import RedisTier, RowCache, TokenIdCache, VersionCache
from predictor.errors import BadModel, DeadlineExceeded, NotReady, TaskNotSupported
from predictor.kserve_sdk import InferenceVerb, Model
from predictor.repository import LoadedModel
from predictor.settings import Settings
from predictor.tasks import ModelContext, Task, TaskRequest, TaskResult
from predictor.tasks.configuration import configuration_of
from predictor.timeline import CURRENT
from predictor.tracing import Tracer
from predictor.types import FloatRows, Tokens
from predictor.version_metrics import ModelMetrics

logger = logging.getLogger(__name__)

# Called with a request, its rows and the engine's output for them, `[N, ...]`, after the run.
Observer = Callable[[Any, Tokens, FloatRows], None]

# Characters that are tokenised on the event loop: about 0.5 ms at most.
INLINE_CHARACTERS = 2048
INLINE_INPUTS = 16


class TaskCall(Struct, frozen=True):
    """A request for a task, and the API key against whose limits it counts, if there is one."""

    task: Task[Any, Any]
    request: TaskRequest
    principal: Principal | None = None


class Tokenized(Struct, frozen=True):
    """A call after preprocess."""

    call: TaskCall
    tokens: Tokens
    # On the event loop's clock, seconds.
    deadline: float


class Computed(Struct, frozen=True):
    """A call after predict; `output` is the engine's, or None for a task that runs no engine."""

    call: TaskCall
    tokens: Tokens
    output: FloatRows | None


class ServedModel(Model):  # type: ignore[misc]  # KServe's classes are untyped
    """One model version behind KServe's interface, used on one event loop."""

    def __init__(
        self,
        loaded: LoadedModel,
        settings: Settings,
        *,
        tasks: Mapping[str, Task[Any, Any]],
        on_fatal: Callable[[str], None],
        memory: RowCache | None = None,
        redis: RedisTier | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            tasks: the tasks that this server supports, by name.
            on_fatal: called on the loop, once, when the engine cannot be brought back.
            memory, redis: the tiers of the cache, if there are any.
            tracer: records a span for each batch, if there is one.

        Raises:
            BadModel: this server supports none of the bundle's tasks.
            BadSetting: a prompt is malformed, or the model does not have the default one.
        """
        super().__init__(loaded.name)
        self.loaded = loaded
        self.version = loaded.version
        self.revision = loaded.bundle.revision
        self.tasks = _tasks_of(loaded, tasks)
        self.task_names = tuple(self.tasks)
        self.metrics = ModelMetrics(loaded.name, loaded.version)
        # By task. Every request waits for them, so they must neither wait nor raise.
        self.observers: dict[str, tuple[Observer, ...]] = {}
        self._settings = settings
        self._on_fatal = on_fatal
        self._memory = memory
        self._redis = redis
        self._tracer = tracer
        self._in_flight = 0
        self._finished: asyncio.Event | None = None
        self._tokenizing = ThreadPoolExecutor(
            settings.model.tokenization_workers or loaded.engine.threads, "tokenize"
        )
        token_ids = loaded.tokenizer.ids
        self.context = ModelContext(
            name=loaded.name,
            version=loaded.version,
            revision=self.revision,
            bundle=loaded.bundle,
            tokenizer=loaded.tokenizer,
            token_ids=TokenIdCache(token_ids, settings.cache).ids if memory else token_ids,
            limits=settings.request,
            configuration=configuration_of(loaded.bundle, settings.request),
        )
        _log_configuration(self.context)
        self._batcher: Batcher | None = None
        self._cache: VersionCache | None = None
        # KServe's attribute; this server reports `is_healthy` instead.
        self.ready = True

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
            padded=loaded.bundle.inputs == "padded",
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
        """Wait for the requests in flight, then end the threads and release the engine."""
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
        """Whether requests would be answered now."""
        return self._batcher is not None and self._batcher.healthy

    def load(self) -> bool:
        """Do nothing; KServe calls this on every request to an unhealthy model."""
        return self.is_healthy

    def observe(self, task: str, observer: Observer) -> None:
        """Call an observer for every computed request for a task from now on."""
        self.observers[task] = (*self.observers.get(task, ()), observer)

    def stop_observing(self, task: str, observer: Observer) -> None:
        """Stop calling an observer."""
        left = tuple(other for other in self.observers.get(task, ()) if other != observer)
        self.observers[task] = left

    def task(self, name: str) -> Task[Any, Any]:
        """Return a task of this model. Raises TaskNotSupported."""
        task = self.tasks.get(name)
        if task is None:
            raise TaskNotSupported(
                f"model {self.name!r} does not support the task {name}; it supports "
                f"{', '.join(self.task_names)}"
            )
        return task

    async def __call__(
        self,
        body: TaskCall,
        headers: dict[str, str] | None = None,
        verb: InferenceVerb = InferenceVerb.PREDICT,
    ) -> tuple[TaskResult, dict[str, str]]:
        """Take the three steps for a decoded request; our metrics replace KServe's timing."""
        if verb is not InferenceVerb.PREDICT:
            raise TaskNotSupported("this model does not support explain")
        self._in_flight += 1
        try:
            tokenized = await self.preprocess(body, headers)
            computed = await self.predict(tokenized, headers)
            result = self.postprocess(computed, headers)
            if computed.output is not None:
                for observe in self.observers.get(body.task.name, ()):
                    observe(body.request, computed.tokens, computed.output)
            return result, {}
        finally:
            self._in_flight -= 1
            if self._finished is not None and not self._in_flight:
                self._finished.set()

    async def preprocess(
        self, payload: TaskCall, headers: dict[str, str] | None = None
    ) -> Tokenized:
        """Check the request, turn its inputs into rows, count its tokens against the API key.

        Long inputs are counted by their characters before they are tokenised.

        Raises:
            InvalidInput: (or a subclass) the model cannot do what the request asks for.
            RateLimited: the key has no tokens left.
            DeadlineExceeded: the deadline passed while the inputs were tokenised.
        """
        del headers
        request = payload.request
        task = payload.task
        loop = asyncio.get_running_loop()
        timeout_s = self._settings.request.request_timeout_ms / 1e3
        if request.timeout_s is not None:
            timeout_s = min(timeout_s, request.timeout_s)
        deadline = loop.time() + timeout_s
        task.check(request, self.context)
        principal = payload.principal
        charged = 0
        if principal is not None and (charged := task.least_tokens(request, self.context)):
            principal.charge_tokens(charged, time.monotonic())
        started = time.perf_counter()
        if _is_small(task.inputs(request)):
            tokens = task.rows(request, self.context)
        else:
            tokens = await self._rows_in_thread(task, request, deadline)
        if (timeline := CURRENT.get()) is not None:
            timeline.tokenize = time.perf_counter() - started
        if tokens.truncated:
            self.metrics.truncated.inc(len(tokens.truncated))
        if principal is not None:
            principal.settle_tokens(charged, tokens.total + tokens.extra, time.monotonic())
        return Tokenized(payload, tokens, deadline)

    async def _rows_in_thread(
        self, task: Task[Any, Any], request: TaskRequest, deadline: float
    ) -> Tokens:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline):
                return await loop.run_in_executor(
                    self._tokenizing, task.rows, request, self.context
                )
        except TimeoutError as error:
            request.abandoned = True
            raise DeadlineExceeded("the deadline passed while the inputs were tokenised") from error
        except asyncio.CancelledError:
            request.abandoned = True
            raise

    async def predict(self, payload: Tokenized, headers: dict[str, str] | None = None) -> Computed:
        """Get the engine's output for every row from the cache or the batcher.

        Raises:
            Overloaded, NotReady, DeadlineExceeded, EngineError: the rows were not computed.
        """
        del headers
        call = payload.call
        tokens = payload.tokens
        if self._batcher is None:
            raise NotReady("the model is not started")
        if call.task.output is None:
            return Computed(call, tokens, None)
        lane = lane_of(call.request.lane, tokens.total, self._settings.batching)
        cache = self._cache
        if cache is None:
            output = await self._batcher.embed(tokens.ids, lane, payload.deadline)
            return Computed(call, tokens, output)
        started = time.perf_counter()
        output = await cache.embed(tokens.ids, lane, payload.deadline, use_cache=call.request.cache)
        if (timeline := CURRENT.get()) is not None:
            # The time that is neither queue nor run is the cache's own.
            spent = time.perf_counter() - started
            timeline.cache = max(0.0, spent - timeline.queue - timeline.run)
        return Computed(call, tokens, output)

    def postprocess(self, result: Computed, headers: dict[str, str] | None = None) -> TaskResult:
        """Make the task's result from the engine's output."""
        del headers
        call = result.call
        answer: TaskResult = call.task.result(
            call.request, result.tokens, result.output, self.context
        )
        return answer


def _tasks_of(
    loaded: LoadedModel, tasks: Mapping[str, Task[Any, Any]]
) -> dict[str, Task[Any, Any]]:
    """The tasks that the bundle lists, the server supports and the engine has the output for.

    Raises:
        BadModel: there are only universal tasks.
    """
    listed = loaded.bundle.tasks
    gives = loaded.engine.outputs
    supported = [
        tasks[name]
        for name in listed
        if name in tasks and (tasks[name].output is None or tasks[name].output in gives)
    ]
    if not supported:
        known = [name for name, task in tasks.items() if not task.universal]
        raise BadModel(
            f"the bundle has the tasks {', '.join(listed) or 'none'}; this server supports "
            f"{', '.join(known)}"
        )
    universal = [task for task in tasks.values() if task.universal]
    return {task.name: task for task in (*supported, *universal)}


def _log_configuration(context: ModelContext) -> None:
    """Say which prompts and which length of vectors hold."""
    configuration = context.configuration
    logger.info(
        "%s version %s, revision %s, configuration %s: vectors %s unless a request says otherwise, "
        "prompts %s, default prompt %r",
        context.name,
        context.version,
        context.revision,
        configuration.id,
        "of length 1" if configuration.normalize else "as the model gives them",
        dict(configuration.prompts) or "none",
        configuration.default_prompt,
    )


def _is_small(inputs: Sequence[Any]) -> bool:
    """Whether tokenising takes the event loop less time than handing it to a thread."""
    if len(inputs) == 1:
        return len(inputs[0]) <= INLINE_CHARACTERS
    return len(inputs) <= INLINE_INPUTS and sum(map(len, inputs)) <= INLINE_CHARACTERS
