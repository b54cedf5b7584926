"""One file a transport. Loaded by `gsmtp.app.wiring`; a leading underscore keeps a file from loading."""
