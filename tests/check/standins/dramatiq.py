def actor(function):
    return function
