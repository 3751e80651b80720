"""The head of a request without its offer to upgrade."""

from predictor.server.http.connection.upgrade import without_offer


def test_only_the_offer_is_taken_out() -> None:
    headers = [
        (b"host", b"x"),
        (b"connection", b"Upgrade, HTTP2-Settings, close"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AAEAAEAAAAIAAAAA"),
        (b"content-length", b"3"),
    ]
    head = without_offer(b"POST", b"/v1/embeddings?a=b", "1.1", headers)
    assert head == (
        b"POST /v1/embeddings?a=b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        b"content-length: 3\r\n\r\n"
    )


def test_a_connection_header_of_the_offer_alone_is_left_out() -> None:
    head = without_offer(b"GET", b"/", "1.1", [(b"connection", b"upgrade")])
    assert head == b"GET / HTTP/1.1\r\n\r\n"
