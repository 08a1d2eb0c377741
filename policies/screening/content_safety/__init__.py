"""Azure AI Content Safety as a screen.

contract  what is asked of it, and what its answers mean
asking    asking it, within a time, by a key or a managed identity
"""
