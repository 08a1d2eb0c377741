"""One kind of flow folder each.

A folder's kind is the file it has: see `flows.registry`. `load(folder, shared)` of a kind reads
the folder's files and returns a `contracts.flows.Flow`, or raises `folder.BrokenFolder`; the SDK
behind a kind is imported by its first run, never by loading.
"""
