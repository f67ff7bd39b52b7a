"""The provider ``demo`` and its model ``kortex-demo``: real calls, answered inside the gateway, always the same way.

What it promises, so that tests of other people can lean on it:

- The same body gets the same bytes. Ids are derived from a hash of the body and ``created`` is a fixed moment.
- A streamed answer says what the whole one says, word by word.
- Tokens are counted by one rule (``tokens.py``), for the prompt, the answer and ``max_tokens`` alike.
- It calls tools (``chat/tool_calls.py``) and fills JSON Schemas (``json_schema/``) from the last user message.
- Fields it has no use for (temperature, logprobs, seed, …) are accepted and change nothing. Those it reads are checked
  and refused in OpenAI's words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from extproc.config.backends import Backend, BaseUrl
from extproc.dialects.base import ClientReply
from extproc.dialects.openai_compatible import OpenAITranslator
from extproc.openai.call import Call, Operation
from extproc.providers.base import Environment, Provider
from extproc.providers.demo.chat import answer_chat
from extproc.providers.demo.embeddings import answer_embeddings
from extproc.providers.demo.envelope import MODEL
from extproc.providers.demo.text_completion import answer_text_completion

_ANSWERS: Final[dict[Operation, Callable[[Call, str], ClientReply]]] = {
    Operation.CHAT: answer_chat,
    Operation.TEXT_COMPLETION: answer_text_completion,
    Operation.EMBEDDINGS: answer_embeddings,
}


class Settings(Backend):
    """The model that is built into Kortex."""

    provider: Literal["demo"]
    url: BaseUrl = "http://demo.invalid"
    """Never called: the answer is made inside the gateway."""


def answer(call: Call, model: str) -> ClientReply:
    """The whole reply: JSON, or for ``call.stream`` every event up to ``[DONE]``.

    ``model`` is the backend's name for it. Raises InvalidRequest for a body that the operation does not allow.
    """
    return _ANSWERS[call.operation](call, model)


DEMO = Provider(
    name="demo",
    settings=Settings,
    # Says which operations there are. The translator itself meets no call, because `answer` comes first.
    offers={"openai_compatible": dict.fromkeys(_ANSWERS, OpenAITranslator())},
    environment=Environment(models=(MODEL,)),
    answer=answer,
)
