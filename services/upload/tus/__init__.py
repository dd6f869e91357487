"""Resumable uploads by tus 1.0 (tus.io/protocols/resumable-upload, 2016-03-25), for any number of processes.

All that is known of an upload is in PostgreSQL, its bytes are part objects in the store: any process serves any request.

    POST /tus ──► receiving ──PATCH … PATCH──► checking ──upload.finish──► accepted (it is an import) | refused
"""
