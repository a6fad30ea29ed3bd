import recorder


def client(name, *args, **kwargs):
    if name.startswith("bedrock"):
        recorder.note("client")
