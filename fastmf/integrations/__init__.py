"""Pre-trained models of other tools, turned into a :class:`fastmf.MF` that can be updated.

====================  =================================================================
function              takes
====================  =================================================================
``from_npz``          a NumPy ``.npz`` file of vectors
``from_safetensors``  a ``.safetensors`` file of vectors
``from_implicit``     ``implicit``: ALS, BPR and logistic models, trained on CPU or GPU
``from_lightfm``      ``lightfm``: a LightFM model, with or without features
``from_surprise``     ``scikit-surprise``: SVD, SVD++ and NMF
``from_torch``        ``torch``: two embeddings or tensors
====================  =================================================================

None of these tools is imported here: each function reads the learned arrays from the object it is given. For arrays in
memory, use :meth:`fastmf.MF.from_factors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastmf.integrations.arrays import from_npz, from_safetensors
    from fastmf.integrations.implicit import from_implicit
    from fastmf.integrations.lightfm import from_lightfm
    from fastmf.integrations.surprise import from_surprise
    from fastmf.integrations.torch import from_torch

__all__ = ["from_implicit", "from_lightfm", "from_npz", "from_safetensors", "from_surprise", "from_torch"]

_ROOMS = {
    "from_implicit": "implicit",
    "from_lightfm": "lightfm",
    "from_npz": "arrays",
    "from_safetensors": "arrays",
    "from_surprise": "surprise",
    "from_torch": "torch",
}


if not TYPE_CHECKING:  # checkers would take any name for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
