"""stub"""
class IterableLoader: pass
def is_stream(data): return False
