"""The two WebSockets: /v1/stream pushes frames, /v1/streams/{id}/view watches them."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from server.pusher import Pusher
from server.service import Service
from server.talk import Talk
from server.viewer import Viewer


def router(service: Service) -> APIRouter:
    """The routes of sockets."""
    routes = APIRouter()

    @routes.websocket("/v1/stream")
    async def stream(socket: WebSocket) -> None:
        talk = Talk(socket, service, "pusher")
        await talk.run(Pusher(talk).converse())

    @routes.websocket("/v1/streams/{stream_id}/view")
    async def view(socket: WebSocket, stream_id: str) -> None:
        talk = Talk(socket, service, "viewer")
        await talk.run(Viewer(talk, stream_id).converse())

    return routes
