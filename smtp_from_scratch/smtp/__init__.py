"""The front door: a client and a server, assembled from the chapters, and the full set of extensions by name."""

from smtp_from_scratch.smtp.client import Client, deliver
from smtp_from_scratch.smtp.server import MAX_SIZE, ReceivedMessage, Server
from smtp_from_scratch.smtp.sets import client_extensions, server_extensions

__all__ = ["MAX_SIZE", "Client", "ReceivedMessage", "Server", "client_extensions", "deliver", "server_extensions"]
