"""The console: server-rendered pages over the API's own routes."""
