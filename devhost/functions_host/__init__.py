"""A local stand-in for the Azure Functions host, for Python apps of the v2 programming model.

    settings, host_json, keys     what the app and its users are given
    app_loader                    the app's functions and their bindings, from its own metadata
    invoker                       one call of a function, as the Functions worker makes it
    routes, http_*, web_extension HTTP triggers, of whole messages or of streams
    hub_link, durable_*, webhooks Durable Functions: work items, client binding, HTTP API
    schedule, timers              timer triggers
    service_bus_*                 Service Bus triggers, from any namespace
    blob_*                        blob triggers, from any storage account
    pumps                         which binding types are served, and by what
    server, reload, cli           the process

Started with `python -m devhost.functions_host`.
"""
