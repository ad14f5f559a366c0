"""GET /v1/engines: what could restore, and what may not."""

from __future__ import annotations

from fastapi import APIRouter

from server.admission import needs
from server.auth import Action
from server.catalog import Offer
from server.problems import documented
from server.service import Service


def router(service: Service) -> APIRouter:
    """The route of engines."""
    routes = APIRouter(tags=["engines"])

    @routes.get(
        "/v1/engines",
        dependencies=needs(service, Action.SEE),
        responses=documented(401, 403),
    )
    async def engines() -> list[Offer]:
        """Every bundle that was found when the service started."""
        return list(service.catalog.offers)

    return routes
