"""Parts of which every neural quantizer is made; only `spec` is free of torch."""
