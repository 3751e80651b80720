"""Small models of every family of encoders, and the vectors that they give."""
