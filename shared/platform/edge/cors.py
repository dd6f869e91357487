"""What pages of other origins may send and see, where PENSTOCK_CORS_ORIGINS lets them call at all."""

from typing import Any

from starlette.middleware.cors import CORSMiddleware

__all__ = ["CORS", "CORSMiddleware"]

_UPLOADS = ("Upload-Concat", "Upload-Defer-Length", "Upload-Length", "Upload-Metadata", "Upload-Offset")

# Tokens come in a header that pages must set by themselves, so cookies (`allow_credentials`) stay out.
CORS: dict[str, Any] = {
    "allow_methods": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    "allow_headers": (
        "Authorization",
        "Cache-Control",  # clients of event streams send it
        "Idempotency-Key",
        "If-Match",
        "If-None-Match",
        "If-Range",
        "Last-Event-ID",
        "Range",
        "Tus-Resumable",
        *_UPLOADS,
        "Upload-Checksum",
        "X-HTTP-Method-Override",
        "X-Requested-With",
        "traceparent",
    ),
    "expose_headers": (
        "Content-Disposition",
        "Content-Range",
        "ETag",
        "Idempotency-Replayed",
        "Location",
        "Penstock-Byte-Offset",
        "Penstock-Import",
        "Penstock-Line-Number",
        "Penstock-Row-Number",
        "RateLimit-Limit",
        "RateLimit-Policy",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "Retry-After",
        "Tus-Checksum-Algorithm",
        "Tus-Extension",
        "Tus-Max-Size",
        "Tus-Resumable",
        "Tus-Version",
        *_UPLOADS,
        "Upload-Expires",
        "X-Request-Id",
    ),
}
