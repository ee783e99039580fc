"""Neighbours: what lets a workflow talk to the world around it.

Model calls over HTTP live here. Importing this room imports no client library; the first call does.
"""

from orchkit.interop._chat import Chat, openai_chat, openai_chat_from_env
from orchkit.interop._reply import ModelCallError, Reply, ReplyInvalid

__all__ = [
    "openai_chat",
    "openai_chat_from_env",
    "Chat",
    "Reply",
    "ModelCallError",
    "ReplyInvalid",
]
