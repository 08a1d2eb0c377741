"""Clients on sockets: proton's protocol engine on asyncio, and what links do with the queues."""
