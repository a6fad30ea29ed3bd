import recorder


class _PubSub:
    def subscribe(self, channel):
        return None

    def listen(self):
        recorder.serving()
        yield "the only one"


class Redis:
    def pubsub(self):
        return _PubSub()
