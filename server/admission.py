"""What a route asks of its caller: a FastAPI dependency for each action."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.params import Depends as Dependency
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from server.auth import Action, Principal
from server.service import Service

BEARER = HTTPBearer(auto_error=False, description="A token made by `surgiclear token`")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]


class Admission:
    """Admits the caller to one action. Raises Unauthenticated or Forbidden."""

    def __init__(self, service: Service, action: Action) -> None:
        self.action = action
        self._gate = service.gate

    def __call__(self, request: Request, credentials: Credentials) -> Principal:
        return self._gate.admit(token_of(credentials), self.action, peer=peer_of(request))


def needs(service: Service, action: Action) -> list[Dependency]:
    """For `dependencies=` of a route."""
    dependency: Any = Depends(Admission(service, action))
    return [dependency]


def token_of(credentials: HTTPAuthorizationCredentials | None) -> str | None:
    return None if credentials is None else credentials.credentials


def peer_of(request: Request) -> str | None:
    return None if request.client is None else request.client.host
