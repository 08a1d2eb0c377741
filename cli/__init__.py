"""`sluice`, the command line: jobs, batches, queues, usage and deployments of one service.

It speaks to the HTTP API alone. Not part of the app: it needs what requirements-dev.txt lists.
"""
