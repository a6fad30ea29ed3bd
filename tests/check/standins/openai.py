import recorder


class OpenAI:
    def __init__(self, *args, **kwargs):
        recorder.note("client")


AsyncOpenAI = OpenAI
