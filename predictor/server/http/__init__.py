"""The REST side: routes, requests, connections, documentation."""
