"""The OpenAI-compatible doors, under `/v1` like the API they stand in for.

realtime    chat completions, embeddings, responses: straight through the router
models      what may be asked
errors      this app's errors as OpenAI error objects
"""
