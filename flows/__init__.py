"""Flows: one folder a flow, and the adapters that load and run each kind.

    registry    the folders, loaded and checked; the way in
    inputs      a job's input against a flow's JSON Schema
    adapters/   one kind of folder each, behind contracts.flows.Flow

docs/flows.md says how to write one.
"""
