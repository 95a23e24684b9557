"""Parameter files of the original DFF and semi-DFF (MXNet)."""
