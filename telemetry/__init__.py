"""What an operator sees of the app: traces and metrics, by OpenTelemetry.

Nothing leaves the process unless an exporter is configured: see `setup`. Neither prompts, answers,
keys nor names of people are ever recorded.
"""
