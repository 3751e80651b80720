"""Sends copies of live texts to a canary without traffic, and compares its vectors.

The gateway could mirror requests, but it discards the mirrored answers: that shows whether the
canary stays up, not whether its vectors are right. So the stable servers send copies themselves,
after the client's answer was computed, and compare. A copy is dropped after its comparison, and a
shadow that is not renewed ends by itself. Nothing here may delay or fail a client's request.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

import msgspec

from predictor.client.http import Address
from predictor.repository import RoutingTable
from predictor.rollout.shadow import ShadowReport
from predictor.server.model import ServedModel
from predictor.server.shadow.copies import TIMEOUT_S, Copy, CopyResult, fitting, send
from predictor.server.shadow.trial import ShadowOrder, ShadowTrial
from predictor.server.watch.daemon_caller import DaemonCaller
from predictor.supervised_task import SupervisedTask
from predictor.tasks.embed import EMBED, EmbedRequest
from predictor.types import FloatRows, Tokens

logger = logging.getLogger(__name__)

# Copies that wait for the canary; further ones are dropped.
MAX_COPIES = 32
# Seconds between two checks whether the shadow has ended.
POLL_S = 1.0
# Between two requests to the canary, seconds: one pod gets the copies of all stable pods.
REST_S = 0.05


class ShadowSender:
    """At most one canary; `start` and `stop` on the loop that serves."""

    def __init__(
        self,
        models: RoutingTable[ServedModel],
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """clock: monotonic seconds. draw: a random number from 0 to 1."""
        self._models = models
        self._clock = clock
        self._draw = draw
        self._trial: ShadowTrial | None = None
        self._share = 0.0
        self._copies: asyncio.Queue[tuple[ShadowTrial, Copy]] = asyncio.Queue(MAX_COPIES)
        self._background = SupervisedTask("the shadow of the canary")

    def start(self, on_fatal: Callable[[str], None]) -> None:
        """on_fatal: called if the task ends by itself, which it never should."""
        self._background.start(self._run, on_fatal)

    async def stop(self) -> None:
        await self._background.stop()
        self.end()

    # The admin route

    def begin(self, order: ShadowOrder) -> ShadowReport:
        """Start copying, or continue for `order.seconds`.

        Raises:
            InvalidInput: the URL is not that of a server.
            ModelNotFound, NotReady: see `RoutingTable.find`.
        """
        model = self._models.find(order.model)
        now = self._clock()
        trial = self._trial
        url = order.address.url
        if trial is None or not trial.is_renewed_by(order, model):
            self.end()
            trial = self._trial = ShadowTrial(
                order, model.version, model.revision, model.context.configuration.id, now
            )
            trial.totals.stable_dimensions = model.loaded.bundle.dimensions
            logger.info(
                "copies of %g of the requests to %s %s go to %s",
                order.share,
                model.name,
                model.version,
                url,
            )
        trial.renew(order, now)
        self._share = order.share
        if trial.model is not model:
            trial.model = model
            model.observe(EMBED.name, self.observe)
        return self.report()

    def end(self) -> ShadowReport:
        """Stop copying and drop the totals; returns the last report."""
        last = self.report()
        self._stop_copying("it was ended")
        self._trial = None
        return msgspec.structs.replace(last, active=False, left_s=0.0)

    def report(self) -> ShadowReport:
        return self._trial.report(self._clock()) if self._trial else ShadowReport(active=False)

    # Within a request

    def observe(self, request: EmbedRequest, tokens: Tokens, rows: FloatRows) -> None:
        """Copy a share of the requests; never raises."""
        if self._draw() >= self._share:
            return
        try:
            self._take(request, tokens, rows)
        except Exception as error:  # its text might repeat the client's
            logger.error("no further copies: %s", type(error).__name__)
            self._stop_copying("copying failed")

    def _take(self, request: EmbedRequest, tokens: Tokens, rows: FloatRows) -> None:
        trial = self._trial
        inputs = request.inputs
        if trial is None or trial.model is None or self._clock() >= trial.until:
            return
        # Token ids belong to this tokenizer, V2 has no parameter to truncate on the left, and a
        # prompt's name may mean another prompt at the canary.
        is_truncated_left = bool(tokens.truncated) and request.truncation_direction != "right"
        if not isinstance(inputs[0], str) or is_truncated_left:
            return
        count = fitting(inputs)
        if not count or not _has_default_prompt(trial.model, request):
            return
        if self._copies.full():
            trial.record_failure("dropped", count)
            return
        texts: list[str] = inputs[:count]
        self._copies.put_nowait((trial, Copy(texts, rows[:count].copy())))

    # In the background

    async def _run(self) -> None:
        sender = DaemonCaller("shadow", send)
        try:
            while True:
                try:
                    await self._next(sender)
                except Exception as error:  # its text might repeat the client's
                    logger.error("comparing with the canary failed: %s", type(error).__name__)
                    self._stop_copying("comparing failed")
                await asyncio.sleep(REST_S)
        finally:
            sender.end()

    async def _next(self, sender: DaemonCaller[tuple[Address, Copy], CopyResult]) -> None:
        """Send one copy, if there is one within POLL_S. No text is held after that."""
        self.end_if_expired()
        try:
            async with asyncio.timeout(POLL_S):
                trial, copy = await self._copies.get()
        except TimeoutError:
            return
        texts = len(copy.texts)
        pending = sender.call((trial.address, copy))
        del copy
        await self._wait_for(trial, pending, texts)

    async def _wait_for(
        self, trial: ShadowTrial, pending: "asyncio.Future[CopyResult]", texts: int
    ) -> None:
        """Wait for the canary, however long; copies that do not fit the queue are dropped."""
        await asyncio.wait({pending}, timeout=TIMEOUT_S)
        if pending.done():
            trial.record(pending.result(), texts)
            return
        trial.record_failure("failed", texts, "no complete answer in time")
        while not pending.done():
            await asyncio.wait({pending}, timeout=POLL_S)
            self.end_if_expired()

    def end_if_expired(self) -> None:
        """End a shadow that was not renewed in time, or whose version is unloaded."""
        trial = self._trial
        if trial is None or trial.model is None:
            return
        if self._clock() >= trial.until:
            self._stop_copying("it was not renewed")
        elif trial.model not in self._models.all():
            self._stop_copying("its version no longer answers")

    def _stop_copying(self, reason: str) -> None:
        """Stop copying and drop the waiting copies; the totals stay."""
        while not self._copies.empty():
            trial, copy = self._copies.get_nowait()
            trial.record_failure("dropped", len(copy.texts))
        self._share = 0.0
        model = self._trial.detach() if self._trial else None
        if model is not None:
            model.stop_observing(EMBED.name, self.observe)
            logger.info("copying %s %s has ended: %s", model.name, model.version, reason)


def _has_default_prompt(model: ServedModel, request: EmbedRequest) -> bool:
    """Whether the request uses the prompt that a request without a prompt name gets."""
    context = model.context
    return context.prompt_for(request.prompt_name, request.input_type) == context.default_prompt
