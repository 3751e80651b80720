"""How long a test waits for what must come.

A deadline only ends a test that hangs. It is far longer than the slowest machine needs, so that no
test passes or fails by the speed of the machine.
"""

DEADLINE_S = 100.0
