"""Loading of a model from a file."""

from __future__ import annotations

import os
from collections.abc import Sequence

from fastmf import files
from fastmf.model.mf import MF
from fastmf.model.options import Options, require_options

__all__ = ["load"]


def load(path: str | os.PathLike[str], classes: Sequence[type] = (), options: Options | None = None) -> MF:
    """Load a model that :meth:`MF.save` wrote. Nothing is unpickled.

    Parameters
    ----------
    path : str or path-like
        A file written by :meth:`MF.save`.
    classes : sequence of types
        Your own loss, solver, regularizer and sampler classes that the model uses, if any: a file cannot name code to
        run.
    options : Options, optional
        Replaces the options in the file. With another ``storage`` the result is another model, of a new lineage.

    Returns
    -------
    MF
        Equal to the saved model, at the same version. It keeps no Deltas: earlier updates cannot be undone.

    Raises
    ------
    FileFormatError
        If the file is damaged or inconsistent, or a class is missing.
    CapacityError
        If the memory budget is too small for the model, or this machine does not have the memory.
    DataError
        If a factor is too large for the ``storage`` asked for.
    OSError
        If the file cannot be read.
    TypeError
        If `classes` is not a sequence of classes.
    """
    if isinstance(classes, type) or not all(isinstance(kind, type) for kind in classes):
        raise TypeError(f"classes must be a list of classes, got {classes!r}")
    if options is not None:
        require_options(options)
    return MF._restored(files.read(path), tuple(classes), str(path), options)
