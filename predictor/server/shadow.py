"""Copies of live texts for a canary that nobody depends on yet, beside what the clients got.

The gateway could mirror requests, but it throws the mirrored answers away: that shows whether the
canary stays up, not whether its vectors are right. So the stable servers send copies themselves,
after the client's answer was computed, and compare. A copy is dropped with its comparison, and a
shadow that nobody renews ends by itself. Nothing here may ever cost a client anything.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

import msgspec

from predictor.comparison.exchange import Address
from predictor.repository import Answers
from predictor.rollout.shadowed import Report
from predictor.server.aside import Aside
from predictor.server.background import Background
from predictor.server.model import EmbeddingModel
from predictor.server.shadow_copies import TIMEOUT_S, Copy, Outcome, ask, fitting
from predictor.server.shadow_trial import Order, Trial
from predictor.types import EmbedRequest, FloatRows, Tokens

logger = logging.getLogger(__name__)

# Copies that wait for the canary; what comes then is dropped.
MOST_COPIES = 32
# How often it looks whether it is over, seconds.
LOOK_S = 1.0
# Between two requests to the canary, seconds: one pod has the shadows of all stable ones.
REST_S = 0.05


class Shadow:
    """At most one canary; `start` and `stop` on the loop that serves."""

    def __init__(
        self,
        models: Answers[EmbeddingModel],
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """clock: monotonic seconds. draw: a number from 0 to 1, another one each time."""
        self._models, self._clock, self._draw = models, clock, draw
        self._trial: Trial | None = None
        self._share = 0.0
        self._copies: asyncio.Queue[tuple[Trial, Copy]] = asyncio.Queue(MOST_COPIES)
        self._background = Background("feeds the canary")

    def start(self, on_fatal: Callable[[str], None]) -> None:
        """on_fatal: called if it ends by itself, which it never should."""
        self._background.start(self._run(), on_fatal)

    async def stop(self) -> None:
        await self._background.stop()
        self.end()

    # What an operator does

    def begin(self, order: Order) -> Report:
        """Take copies from now on, or go on for `order.seconds`.

        Raises:
            InvalidInput: the URL is none of a server.
            ModelNotFound, NotReady: see `Answers.find`.
        """
        model, now = self._models.find(order.model), self._clock()
        trial, url = self._trial, order.address.url
        if trial is None or not trial.goes_on(order, model):
            self.end()
            trial = self._trial = Trial(order, model.version, model.revision, now)
            trial.totals.own = model.loaded.bundle.dimensions
            logger.info(
                "copies of %g of the requests to %s %s go to %s",
                *(order.share, model.name, model.version, url),
            )
        trial.renew(order, now)
        self._share = order.share
        if trial.model is not model:
            trial.model = model
            model.observers += (self.observe,)
        return self.report()

    def end(self) -> Report:
        """No copies any more, and no totals; returns the last ones."""
        last = self.report()
        self._let_go("it was ended")
        self._trial = None
        return msgspec.structs.replace(last, active=False, left_s=0.0)

    def report(self) -> Report:
        return self._trial.report(self._clock()) if self._trial else Report(active=False)

    # What stands in a request's way

    def observe(self, request: EmbedRequest, tokens: Tokens, rows: FloatRows) -> None:
        """Take a copy of some; never raises."""
        if self._draw() >= self._share:
            return
        try:
            self._take(request, tokens, rows)
        except Exception as error:  # its text might repeat the client's
            logger.error("no copies any more: %s", type(error).__name__)
            self._let_go("copying failed")

    def _take(self, request: EmbedRequest, tokens: Tokens, rows: FloatRows) -> None:
        trial, inputs = self._trial, request.inputs
        if trial is None or trial.model is None or self._clock() >= trial.until:
            return
        # Token ids belong to this tokenizer; V2 cannot ask to cut on the left, and a prompt's name
        # may mean another prompt there.
        is_cut_left = bool(tokens.truncated) and request.truncation_direction != "right"
        if not isinstance(inputs[0], str) or is_cut_left:
            return
        count = fitting(inputs)
        if not count or not trial.model.has_default_prompt(request):
            return
        if self._copies.full():
            trial.missed("dropped", count)
            return
        texts: list[str] = inputs[:count]
        self._copies.put_nowait((trial, Copy(texts, rows[:count].copy())))

    # Behind the requests' backs

    async def _run(self) -> None:
        sender = Aside("shadow", ask)
        try:
            while True:
                try:
                    await self._next(sender)
                except Exception as error:  # its text might repeat the client's
                    logger.error("comparing with the canary: %s", type(error).__name__)
                    self._let_go("comparing failed")
                await asyncio.sleep(REST_S)
        finally:
            sender.end()

    async def _next(self, sender: Aside[tuple[Address, Copy], Outcome]) -> None:
        """One copy, if one comes soon. No text is held after that."""
        self.tend()
        try:
            async with asyncio.timeout(LOOK_S):
                trial, copy = await self._copies.get()
        except TimeoutError:
            return
        texts = len(copy.texts)
        pending = sender.ask((trial.address, copy))
        del copy
        await self._outcome(trial, pending, texts)

    async def _outcome(self, trial: Trial, pending: "asyncio.Future[Outcome]", texts: int) -> None:
        """Wait for the canary, however long: copies that come meanwhile are dropped in the end."""
        await asyncio.wait({pending}, timeout=TIMEOUT_S)
        if pending.done():
            trial.conclude(pending.result(), texts)
            return
        trial.missed("failed", texts, "no end of its answer")
        while not pending.done():
            await asyncio.wait({pending}, timeout=LOOK_S)
            self.tend()

    def tend(self) -> None:
        """End what nobody renews, or what has no version any more."""
        trial = self._trial
        if trial is None or trial.model is None:
            return
        if self._clock() >= trial.until:
            self._let_go("nobody renewed it")
        elif trial.model not in self._models.all():
            self._let_go("its version does not answer any more")

    def _let_go(self, why: str) -> None:
        """Take no copies any more and drop those that wait; the totals stay."""
        while not self._copies.empty():
            trial, copy = self._copies.get_nowait()
            trial.missed("dropped", len(copy.texts))
        self._share = 0.0
        model = self._trial.let_go() if self._trial else None
        if model is not None:
            model.observers = tuple(one for one in model.observers if one != self.observe)
            logger.info("no copies of %s %s any more: %s", model.name, model.version, why)
