"""The format clients speak: OpenAI's API as values (https://platform.openai.com/docs/api-reference)."""
