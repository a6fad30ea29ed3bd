import recorder


class SocketModeHandler:
    def __init__(self, app, token):
        self.app = app

    def start(self):
        recorder.serving()
