"""Pictures and live video to a Surgiclear service and back, as numpy arrays or JPEG bytes."""

from surgiclear_client.aio import AsyncClient, AsyncPush, AsyncWatch
from surgiclear_client.blocking import Client, Push, Watch
from surgiclear_client.errors import (
    BadMessage,
    BadPicture,
    Closed,
    Refused,
    SurgiclearClientError,
    Unreachable,
)
from surgiclear_client.frame import Flag, Frame, Levels
from surgiclear_client.rest import Restored
from surgiclear_client.session import Answer, Dropped, Pong, Session, Welcome

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncPush",
    "AsyncWatch",
    "BadMessage",
    "BadPicture",
    "Client",
    "Closed",
    "Dropped",
    "Flag",
    "Frame",
    "Levels",
    "Pong",
    "Push",
    "Refused",
    "Restored",
    "Session",
    "SurgiclearClientError",
    "Unreachable",
    "Watch",
    "Welcome",
]
