"""Rollouts simulated: traffic, a cluster and Prometheus around the real decisions."""
