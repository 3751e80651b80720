"""Of grpcio's errors, only those that clients cause are not logged."""

import logging

import pytest

from predictor.server.grpc_server.client_faults import LOGGER, MESSAGES, ignore_in_the_log


def test_only_what_clients_cause_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    ignore_in_the_log()
    ignore_in_the_log()
    logger = logging.getLogger(LOGGER)
    for message in MESSAGES:
        logger.error("%s [%s]", message, "/a")
        logger.error(f"{message} [/a]")
    logger.error("Unexpected [%s] raised by servicer method [%s]", "ValueError", "/a")
    assert [record.getMessage()[:10] for record in caplog.records] == ["Unexpected"]
    assert len(logger.filters) == 1
