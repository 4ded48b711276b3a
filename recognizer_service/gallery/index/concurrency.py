"""Concurrent requests, combined."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Combining(Generic[Question, Answer]):
    """Combines concurrent questions into one pass at a time."""

    def __init__(self, answer: Callable[[Sequence[Question]], Sequence[Answer]]) -> None:
        """Create it with a function that answers a sequence of questions in order."""
        self._answer = answer
        self._answering = threading.Lock()
        self._waiting: deque[tuple[Question, Future[Answer]]] = deque()

    def ask(self, question: Question) -> Answer:
        """Return the answer; an error of `answer` is raised to all callers of the pass."""
        future: Future[Answer] = Future()
        self._waiting.append((question, future))
        with self._answering:
            if not future.done():  # else the previous lock holder has answered this one too
                self._answer_waiting()
        return future.result()

    def __len__(self) -> int:
        """Return the number of waiting questions."""
        return len(self._waiting)

    def _answer_waiting(self) -> None:
        asked = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            answers = self._answer([question for question, _ in asked])
        except BaseException as error:  # noqa: BLE001 - raised to all callers
            for _, future in asked:
                future.set_exception(error)
            return
        for (_, future), answer in zip(asked, answers, strict=True):
            future.set_result(answer)
