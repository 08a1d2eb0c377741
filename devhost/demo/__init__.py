"""`./dev demo`: the main job, end to end on this machine, with every answer checked."""
