"""Devices: who runs a job, looked up by (job, device). A new device is a file that registers its jobs."""

from fastmf.devices import cpu  # noqa: F401 - registers its jobs
from fastmf.devices.registry import register, runner

__all__ = ["register", "runner"]
