"""What the demo model says in a chat: short, and about what it was sent, so that a reader sees that it arrived."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extproc.providers.demo.chat.conversation import Conversation, Message
from extproc.providers.demo.wording import CLOSING, excerpt, opening, quote

_FILES_NAMED: Final = 3


def chat_text(conversation: Conversation, choice: int) -> str:
    """The answer to a chat. ``choice`` counts the answers to one request."""
    return " ".join((opening(choice), *_about(conversation), CLOSING))


def _about(conversation: Conversation) -> Iterator[str]:
    for result in conversation.results:
        yield f"{result.tool} returned {quote(result.text)}"
    if conversation.asked.strip():
        yield f"{'You had asked' if conversation.results else 'You wrote'} {quote(conversation.asked)}"
    else:
        yield "You have not written anything to me yet."
    attached = _attachments(conversation.question) if conversation.question else ""
    if attached:
        yield f"With it came {attached}, which I can count but not look into."
    if conversation.turns > 1:
        yield f"It is message number {conversation.turns} from you in this conversation."
    instructions = " ".join(conversation.instructions)
    if instructions.strip():
        yield f"My instructions arrived too: {quote(instructions)}"


def _attachments(message: Message) -> str:
    kinds = [part.kind for part in message.parts]
    files = [part.text for part in message.parts if part.kind == "file" and part.text][:_FILES_NAMED]
    named = f" ({', '.join(map(excerpt, files))})" if files else ""
    counted = (
        (kinds.count("image_url"), "image", ""),
        (kinds.count("input_audio"), "recording", ""),
        (kinds.count("file"), "file", named),
    )
    return " and ".join(f"{count} {what}{'s' * (count > 1)}{more}" for count, what, more in counted if count)
