"""The task hub: keeps orchestrations and hands out their work over gRPC.

`open_hub` is the one way in; what stands behind it is chosen by the settings.
"""

from devhost.task_hub.hub import Hub, HubSettings, open_hub

__all__ = ["Hub", "HubSettings", "open_hub"]
