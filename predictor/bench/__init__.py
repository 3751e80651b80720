"""The engine measured alone, without a server."""
