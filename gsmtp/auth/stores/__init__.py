"""One file a URI scheme, registered with ``@store("file")``; a leading underscore keeps a file from loading."""
