"""GET /metrics, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response

from server.admission import needs
from server.auth import Action
from server.metrics import CONTENT_TYPE
from server.problems import documented
from server.service import Service


def router(service: Service) -> APIRouter:
    """The route of metrics."""
    routes = APIRouter(tags=["health"])

    @routes.get(
        "/metrics",
        dependencies=needs(service, Action.SCRAPE),
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **documented(401, 403),
        },
    )
    async def metrics() -> Response:
        """Everything that is counted, in Prometheus' text format."""
        return Response(service.metrics.page(), media_type=CONTENT_TYPE)

    return routes
