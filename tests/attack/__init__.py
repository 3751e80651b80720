"""Each finding of an attack as a test against a real server."""
