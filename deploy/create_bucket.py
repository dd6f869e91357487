"""Makes the bucket of PENSTOCK_STORE_URL, if it is not there, with the AWS_… settings and secrets that the services read, too."""

import os
from datetime import timedelta
from http import HTTPStatus
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import obstore
from obstore.store import from_url

from penstock.secret_files import read_secret_files

read_secret_files()
bucket = urlsplit(os.environ["PENSTOCK_STORE_URL"]).netloc
# obstore makes no buckets, but it signs the request that does.
request = obstore.sign(from_url(f"s3://{bucket}"), "PUT", "", timedelta(minutes=1))
try:
    urlopen(Request(request, method="PUT"), timeout=30).close()  # noqa: S310 - the address is our own setting
except HTTPError as error:
    if error.code != HTTPStatus.CONFLICT:  # it is there already
        raise SystemExit(f"cannot make the bucket {bucket!r}: {error}: {error.read().decode()}") from None
print(f"The bucket {bucket!r} is there.")  # noqa: T201
