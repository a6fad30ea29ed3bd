class Traceloop:
    @staticmethod
    def init(**kwargs):
        pass
