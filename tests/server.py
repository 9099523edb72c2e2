"""Real processes of the `cfgen` command, begun in no time: forked from one that has imported all.

Run as a program it reads one request a line and answers it with one line: {"arguments": [...],
"environment": {...}, "log": FILE} begins a command and says its process's id, an id waits for
that process and says how it ended (negative: by that signal).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path


class Server:
    """Begins commands, each in a process of its own.

    Args:
        folder: for what they say.
        module: what their processes have imported.
        warnings: what becomes of a warning.
    """

    def __init__(
        self, folder: Path, module: str = "evaluation.search", warnings: str = "error"
    ) -> None:
        self.folder, self.begun = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, "-W", warnings, __file__, module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.logs: dict[int, Path] = {}

    def begin(self, *arguments: object, **environment: object) -> int:
        """Begin `cfgen ARGUMENTS`; return the process's id."""
        log = self.folder / f"{self.begun}.log"
        self.begun += 1
        told = {
            "arguments": [str(argument) for argument in arguments],
            "environment": {key: str(value) for key, value in environment.items()},
            "log": str(log),
        }
        pid = self._ask(told)
        self.logs[pid] = log
        return pid

    def end(self, pid: int) -> int:
        """Wait for a process; return its exit code, or minus the signal that ended it."""
        return self._ask(pid)

    def run(self, *arguments: object, **environment: object) -> tuple[int, str]:
        """Run a command; return its exit code and what it said."""
        pid = self.begin(*arguments, **environment)
        return self.end(pid), self.said(pid)

    def said(self, pid: int) -> str:
        """What a process has said so far."""
        return self.logs[pid].read_text()

    def close(self) -> None:
        """End the server."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _ask(self, told: object) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(told) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


def _serve() -> None:
    import lightning.fabric.strategies.ddp  # noqa: F401 - imported once for all

    import_module(sys.argv[1])
    for line in sys.stdin:
        told = json.loads(line)
        answer = _begin(told) if isinstance(told, dict) else _end(told)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _begin(told: dict) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.environ.update(told["environment"])
        log = os.open(told["log"], os.O_WRONLY | os.O_CREAT)
        for stream in (1, 2):
            os.dup2(log, stream)
        from cfgen.cli import main

        code = main(told["arguments"])
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    _serve()
