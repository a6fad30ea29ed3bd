class App:
    def __init__(self, **_):
        pass
