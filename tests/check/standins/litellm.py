success_callback = []
