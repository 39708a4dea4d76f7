"""What a process takes at most, in resident megabytes, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Memory"]


class Memory:
    """Of one process, beside what it holds now: idle."""

    def __init__(self, pid: int) -> None:
        self._home = Path(f"/proc/{pid}")
        self._idle = self._megabytes("VmRSS")
        self.forget_peak()

    def forget_peak(self) -> None:
        """The peak is counted from now on."""
        (self._home / "clear_refs").write_text("5")

    def over_idle(self) -> float:
        """The peak, beside the idle process."""
        return self._megabytes("VmHWM") - self._idle

    def left(self) -> float:
        """What is held now, beside the idle process."""
        return self._megabytes("VmRSS") - self._idle

    def _megabytes(self, name: str) -> float:
        status = (self._home / "status").read_text()
        return int(status.split(f"{name}:")[1].split()[0]) * 1024 / 1e6
