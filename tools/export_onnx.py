"""Export a video detector to ONNX."""

from semidff import commands

if __name__ == '__main__':
    commands.export_onnx()
