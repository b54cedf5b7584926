"""Who a client is: credential stores by URI scheme, password formats, failed attempts by address."""
