"""Using trained models: opening them by any name, sampling, translating, encoding, evaluating."""
