"""Devices: implementations of jobs, registered and looked up by (job, device). See registry.py."""

from fastmf.devices import cpu  # noqa: F401 - registers its jobs
from fastmf.devices.registry import register, runner

__all__ = ["register", "runner"]
