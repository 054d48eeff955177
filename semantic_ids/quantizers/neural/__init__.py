"""Parts that the neural quantizers share."""
