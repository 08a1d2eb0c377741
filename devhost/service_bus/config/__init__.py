"""Reads a namespace from the official Service Bus emulator's own config.json.

The format is that of `Config-schema.json` in Azure/azure-service-bus-emulator-installer. Limits
are those of the service, which are wider than the emulator's; a file for both keeps to the
narrower ones. What this broker does not do is refused here, never ignored.
"""
