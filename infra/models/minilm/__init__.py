"""What the scoring scripts of this folder share: one small encoder and the wire format.

Deployed beside them as one code folder (`code: ..` in each deployment.yml), which the Azure ML
inference server puts on sys.path.
"""
