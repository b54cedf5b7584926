"""One file a mechanism, registered with ``@mechanism("NAME")``; a leading underscore keeps a file from loading."""
