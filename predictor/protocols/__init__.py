"""The wire formats: each module decodes a body to an `EmbedRequest` and encodes an `EmbedResult`.

Pure functions on bytes. They know no HTTP library, no model and no clock.
"""
