import recorder


class FastMCP:
    def __init__(self, name):
        self.name = name

    def run(self):
        recorder.serving()
