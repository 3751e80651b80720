"""Two models on the same texts: their vectors, how far apart they are, and a picture of it."""
