"""One file a check. Loaded by `gsmtp.app.wiring`; a leading underscore keeps a file from loading."""
