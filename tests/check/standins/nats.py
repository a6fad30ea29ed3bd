import recorder


class _Subscription:
    @property
    async def messages(self):
        recorder.serving()
        yield "the only one"


class _Client:
    async def subscribe(self, subject):
        return _Subscription()


async def connect(url):
    return _Client()
