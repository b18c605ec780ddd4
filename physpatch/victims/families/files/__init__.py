"""Files that hold a network with its weights."""

from physpatch.victims.families.files.exported_programs import ExportedPrograms
from physpatch.victims.families.files.onnx_models import OnnxModels
from physpatch.victims.families.files.torchscript import TorchScript

__all__ = ["ExportedPrograms", "OnnxModels", "TorchScript"]
