"""A runner that starts nothing: it writes down what it was asked, and answers from a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from builder.engine.process import Argv, CommandMissingError, Result


@dataclass
class RecordingRunner:
    """Answers by the first words of a command; what is not in the table succeeds and prints nothing."""

    answers: dict[tuple[str, ...], Result] = field(default_factory=dict)
    output: bytes = b""
    code: int = 0
    missing: tuple[str, ...] = ()
    interrupt: bool = False
    asked: list[Argv] = field(default_factory=list)
    stdin: list[bytes] = field(default_factory=list)

    def run(self, argv: Argv, *, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Result:
        self._ask(argv, stdin)
        for words, answer in self.answers.items():
            if argv[: len(words)] == words or set(words) <= set(argv):
                return answer
        return Result(0)

    def stream(
        self,
        argv: Argv,
        feed: Callable[[bytes], None],
        *,
        tick: float = 0.25,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> int:
        self._ask(argv, stdin)
        feed(b"")
        for start in range(0, len(self.output), 1000):
            feed(self.output[start : start + 1000])
        if self.interrupt:
            raise KeyboardInterrupt
        return self.code

    def pipe(
        self,
        first: Argv,
        second: Argv,
        feed: Callable[[bytes], None],
        *,
        tick: float = 0.25,
        env: Mapping[str, str] | None = None,
    ) -> tuple[Result, Result]:
        self._ask(first, b"")
        self._ask(second, b"")
        feed(self.output)
        return Result(self.code, b"", self.output), Result(0)

    def _ask(self, argv: Argv, stdin: bytes) -> None:
        if argv[0] in self.missing:
            raise CommandMissingError(argv[0])
        self.asked.append(argv)
        self.stdin.append(stdin)
