"""One file an SMTP extension. Loaded by `gsmtp.app.wiring`; a leading underscore keeps a file from loading."""
