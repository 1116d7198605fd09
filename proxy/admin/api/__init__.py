"""The API: what administrators, finance teams and their programs ask of this installation, as JSON.

A resource is a module with handlers and `ROUTES`; `table` lists them, `server` serves them, `openapi`
describes them. A handler is a plain function that runs in a thread, in the transaction that its route
asks for.
"""
