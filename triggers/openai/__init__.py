"""The OpenAI-compatible doors, under `/v1` like the API they stand in for.

realtime    chat completions, embeddings, responses: straight through the router
  asked       one such request
  background  those that become jobs
  flow_model  a flow in the place of a chat's model
models      what may be asked
errors      this app's errors as OpenAI error objects
"""
