"""The wire formats: a codec for each protocol, and a form for each task that it speaks.

Pure functions on bytes. They know no HTTP library, no model and no clock.
"""
