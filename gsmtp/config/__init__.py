"""From text to immutable settings: lexer, grammar, merged tree, checked options, views. No I/O but reading files."""
