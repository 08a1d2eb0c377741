"""Where words may go and how long they are kept."""
