"""``/v1/chat/completions`` as the demo model answers it (https://platform.openai.com/docs/api-reference/chat)."""

from extproc.providers.demo.chat.answer import answer_chat

__all__ = ["answer_chat"]
