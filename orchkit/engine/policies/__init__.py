"""What each policy does, one a file. Their order is the table in `orchkit.engine.pipeline`."""
