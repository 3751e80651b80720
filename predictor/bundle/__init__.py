"""A model on disk: manifest, sources, publication; what export and serving share."""
