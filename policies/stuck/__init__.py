"""Jobs and batches that make no progress: how they are found, and what is done with them."""
