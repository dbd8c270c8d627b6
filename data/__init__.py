"""Nouns of sound and of files: clips, waves, log-mels, impulse responses and the logits contract."""
