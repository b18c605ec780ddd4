"""Meshes as Mitsuba's shapes."""

from typing import Any

from captures.sources.rendered.engine import engine
from captures.sources.rendered.surfaces import Mesh, Spec


def mesh_shape(name: str, mesh: Mesh, surface: Spec, *, emitter: Spec | None = None) -> Any:
    """Load a mesh with a surface, which shines if it has an emitter: towards where its faces are counter-clockwise.

    Raises:
        UnavailableError: Mitsuba is not installed.
    """
    mi = engine()
    properties = mi.Properties()
    properties["mesh_bsdf"] = mi.load_dict(surface)
    if emitter is not None:
        properties["mesh_emitter"] = mi.load_dict(emitter)
    counts = len(mesh.points), len(mesh.faces)
    shape = mi.Mesh(name, *counts, properties, has_vertex_normals=True, has_vertex_texcoords=True)
    parameters = mi.traverse(shape)
    parameters["faces"] = mesh.faces.ravel()
    parameters["vertex_texcoords"] = mesh.uv.ravel()
    parameters["vertex_positions"] = mesh.points.ravel()
    parameters.update()
    return shape
