"""Clients of other projects, at pinned versions and unchanged, against a real server."""
