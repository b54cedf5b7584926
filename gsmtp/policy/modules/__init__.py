"""One file a ready-made module. Loaded by `gsmtp.app.wiring`; a leading underscore keeps a file from loading."""
