from openai import OpenAI as ChatOpenAI  # noqa: F401
