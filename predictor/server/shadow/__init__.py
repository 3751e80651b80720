"""Copies of live texts for a canary, whose vectors are compared with the clients'."""
