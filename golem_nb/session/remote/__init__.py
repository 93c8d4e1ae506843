"""What runs on providers for `Session.map`: sent there as source, so it needs the standard library alone."""
