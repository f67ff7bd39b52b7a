"""From a chat request to its reply: tool calls, JSON or a text, within the limits asked for."""

from __future__ import annotations

from extproc.dialects.base import ClientReply
from extproc.openai.call import Call
from extproc.providers.demo.chat.conversation import Conversation, read_conversation
from extproc.providers.demo.chat.reply import Choice, chat_body, chat_stream
from extproc.providers.demo.chat.response_format import JsonFormat, read_format
from extproc.providers.demo.chat.tool_calls import ToolCall, choose_calls, cut_calls
from extproc.providers.demo.chat.tools import read_toolbox
from extproc.providers.demo.chat.wording import chat_text
from extproc.providers.demo.envelope import Envelope, body_id, full_usage
from extproc.providers.demo.limits import Limits, check_size, read_limits
from extproc.providers.demo.tokens import count_tokens


def answer_chat(call: Call, model: str) -> ClientReply:
    """The reply to a chat, whole or streamed. Raises InvalidRequest.

    Tools are called before anything else is said, and what they gave back is answered with a text.
    """
    fields = call.fields()
    conversation = read_conversation(fields["messages"])
    toolbox = read_toolbox(fields)
    json_format = read_format(fields.get("response_format"))
    limits = read_limits(fields, tokens=("max_completion_tokens", "max_tokens"), fewest=1)
    calls = () if conversation.results else choose_calls(toolbox, conversation.asked)
    choices = _calling(calls, limits) if calls else _saying(conversation, json_format, limits)
    usage = full_usage(conversation.tokens + toolbox.tokens, sum(map(_tokens, choices)))
    envelope = Envelope(id=body_id("chatcmpl-", call.body), model=call.model, usage=usage)
    body = (
        chat_stream(choices, envelope, include_usage=call.include_usage)
        if call.stream
        else chat_body(choices, envelope)
    )
    return ClientReply(body=body, usage=usage, model=model)


def _calling(calls: tuple[ToolCall, ...], limits: Limits) -> list[Choice]:
    check_size(limits.choices * sum(len(call.input) for call in calls), param="n")
    cut = cut_calls(calls, limits.tokens)
    choice = Choice(
        text=None if cut else "",
        calls=cut,
        finish_reason="tool_calls" if cut == calls else "length",
    )
    return [choice] * limits.choices


def _saying(conversation: Conversation, json_format: JsonFormat | None, limits: Limits) -> list[Choice]:
    texts = [chat_text(conversation, index) for index in range(limits.choices)]
    if json_format is not None:
        texts = [json_format.text(conversation.asked, texts[0])] * limits.choices
    check_size(sum(map(len, texts)), param="n")
    cut = [limits.cut(text) for text in texts]
    return [Choice(text=text, calls=(), finish_reason=reason) for text, reason in cut]


def _tokens(choice: Choice) -> int:
    return count_tokens(choice.text or "") + sum(call.tokens for call in choice.calls)
