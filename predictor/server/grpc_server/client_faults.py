"""Keeps grpcio from logging what clients do as errors of its own, with tracebacks.

A client that leaves before it has read its answer, or that sends metadata whose name is not UTF-8,
makes grpcio log an error, which says nothing about this server.
"""

import logging

# The logger and the beginnings of the messages are grpcio's (1.85.1).
LOGGER = "grpc._cython.cygrpc"
MESSAGES = ("ExecuteBatchError raised in core by servicer method", "Invalid encoding on ")


def is_of_the_server(record: logging.LogRecord) -> bool:
    """Whether a record is not about a client."""
    return not record.getMessage().startswith(MESSAGES)


def ignore_in_the_log() -> None:
    """Drop the records about clients; calling it again changes nothing."""
    logger = logging.getLogger(LOGGER)
    if is_of_the_server not in logger.filters:
        logger.addFilter(is_of_the_server)
