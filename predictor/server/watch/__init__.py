"""What the server watches while it serves: vectors, traffic, GPUs, its own loop."""
