"""Images back to latents: encoders beside generators."""
