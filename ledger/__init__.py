"""Who used what and what it cost: each usage record kept exactly once."""
