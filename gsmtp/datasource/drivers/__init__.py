"""One file a driver, registered with ``@driver("sqlite")``; a leading underscore keeps a file from loading."""
