"""The workers' own HTTP endpoint: /metrics, /healthz, /readyz."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from streams.adapters.readiness import Readiness
from streams.settings import MetricsSettings


async def start_health(
    settings: MetricsSettings, registry: CollectorRegistry, readiness: Readiness
) -> tuple[web.AppRunner, int]:
    """Serve the endpoint in this loop, so that a loop that hangs does not look healthy.

    Returns:
        What to `cleanup()` at the end, and the port.
    """

    async def metrics(request: web.Request) -> web.Response:
        page = generate_latest(registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(request: web.Request) -> web.Response:
        status = 200 if readiness.ready else 503
        return web.json_response(
            {"ready": readiness.ready, "blocked": readiness.blocked}, status=status
        )

    app = web.Application()
    app.add_routes(
        [web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, settings.host, settings.port)
    await site.start()
    port: int = runner.addresses[0][1]
    return runner, port
