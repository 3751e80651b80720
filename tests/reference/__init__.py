"""Reference vectors, and the fixed texts and the program they are made from."""
