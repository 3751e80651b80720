"""Two models on the same texts: their vectors, and how far apart they are."""
