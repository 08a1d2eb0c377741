"""What wakes the app: one blueprint a door."""
