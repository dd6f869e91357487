"""The least that an upload can be: the same server, which reads the body and hashes it, and keeps nothing."""

import hashlib
import sys

from fastapi import FastAPI, Request

from shared.platform.process import Server, server_config
from shared.platform.service import Stopping
from shared.platform.settings import ProcessSettings

app = FastAPI()


@app.get("/health/ready")
async def ready() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/api/v1/uploads", status_code=202)
async def upload(request: Request) -> dict[str, str]:
    sha256 = hashlib.sha256()
    async for chunk in request.stream():
        sha256.update(chunk)
    return {"sha256": sha256.hexdigest()}


if __name__ == "__main__":
    Server(server_config(app, ProcessSettings(), host="127.0.0.1", port=int(sys.argv[-1])), Stopping()).run()
