"""The scrape: our series, and the names that other servers give them."""
