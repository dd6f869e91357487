"""The least that a list or a page can be: the same server and framework, which answers a constant."""

import sys

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse

from shared.platform.process import Server, server_config
from shared.platform.service import Stopping
from shared.platform.settings import ProcessSettings

app = FastAPI()


@app.get("/health/ready")
async def ready() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/constant/{size}")
async def constant(size: int) -> Response:
    return Response(b"x" * size, media_type="application/json")


@app.get("/page")
async def page() -> HTMLResponse:
    return HTMLResponse('<!doctype html><html lang="en"><title>Bare</title><main><h1>Bare</h1></main>')


if __name__ == "__main__":
    Server(server_config(app, ProcessSettings(), host="127.0.0.1", port=int(sys.argv[-1])), Stopping()).run()
