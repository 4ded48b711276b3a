"""Questions that come while others are being answered wait, and are then answered together.

Many searches in one pass over the vectors cost little more than one: the pass is bound by memory.
A question that comes alone is answered at once; none waits for company.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Combining(Generic[Question, Answer]):
    """One pass at a time over whatever has been asked by then."""

    def __init__(self, answer: Callable[[Sequence[Question]], Sequence[Answer]]) -> None:
        """Answer with a function that takes all waiting questions, and answers in their order."""
        self._answer = answer
        self._answering = threading.Lock()
        self._waiting: deque[tuple[Question, Future[Answer]]] = deque()

    def ask(self, question: Question) -> Answer:
        """The answer; what `answer` raises is raised to all who were asked for together."""
        future: Future[Answer] = Future()
        self._waiting.append((question, future))
        with self._answering:
            if not future.done():  # else whoever held the lock has answered this one too
                self._answer_waiting()
        return future.result()

    def __len__(self) -> int:
        """How many questions wait."""
        return len(self._waiting)

    def _answer_waiting(self) -> None:
        asked = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            answers = self._answer([question for question, _ in asked])
        except BaseException as error:  # noqa: BLE001 - it is raised to all who asked
            for _, future in asked:
                future.set_exception(error)
            return
        for (_, future), answer in zip(asked, answers, strict=True):
            future.set_result(answer)
