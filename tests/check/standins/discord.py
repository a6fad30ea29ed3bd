import recorder


class Intents:
    @classmethod
    def default(cls):
        return cls()


class Client:
    def __init__(self, *, intents):
        self.intents = intents

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def setup_hook(self):
        return None

    async def start(self, token):
        await self.setup_hook()
        recorder.serving()

    def run(self, token):
        recorder.serving()
