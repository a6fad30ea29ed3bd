def title(text):
    pass
