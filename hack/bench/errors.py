"""What stops a section of the benchmark, said so that the reader knows where to look."""


class BenchError(Exception):
    """Something that was to be measured did not run, or did not answer as it must."""
