"""Tests on a real Kubernetes: the charts installed, the server under load, a canary rolled out."""
