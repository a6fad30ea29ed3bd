import recorder

from flask.cli import AppGroup


class Flask:
    def __init__(self, name):
        self.routes = []
        self.cli = AppGroup()

    def route(self, path, **kwargs):
        return lambda function: self.routes.append(function) or function

    get = post = route

    def before_request(self, function):
        self.routes.append(function)
        return function

    def run(self, *args, **kwargs):
        recorder.serving()
        for function in self.routes:
            function()

    def __call__(self, environ, start_response):
        for function in self.routes:
            function()
        start_response("200 OK", [])
        return []
