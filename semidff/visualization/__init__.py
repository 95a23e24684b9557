"""Pictures: annotated frames, feature flow and scale field, propagation of a pair."""

from .frames import render_frame
