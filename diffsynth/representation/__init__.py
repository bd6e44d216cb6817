"""What the networks see and predict: gain fields, STFT frames and piano rolls."""
