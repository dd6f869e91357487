"""The least that a list can be: the same server and framework, which answers a constant of as many bytes."""

import sys

from fastapi import FastAPI, Response

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


if __name__ == "__main__":
    Server(server_config(app, ProcessSettings(), host="127.0.0.1", port=int(sys.argv[-1])), Stopping()).run()
